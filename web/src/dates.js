// Dates in the calendars of the CF conventions (section 4.4.1): "<unit>s since <date>" to ISO 8601.

const DAYS_PER_UNIT = new Map([
  ["day", 1],
  ["d", 1],
  ["hour", 1 / 24],
  ["hr", 1 / 24],
  ["h", 1 / 24],
  ["minute", 1 / 1440],
  ["min", 1 / 1440],
  ["second", 1 / 86400],
  ["sec", 1 / 86400],
  ["s", 1 / 86400],
]);
const MONTH_LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const FIXED_YEAR_LENGTHS = new Map([
  ["noleap", 365],
  ["365_day", 365],
  ["all_leap", 366],
  ["366_day", 366],
  ["360_day", 360],
]);
const UNITS = /^\s*([a-z]+?)s?\s+since\s+(-?\d+)-(\d+)-(\d+)(?:[T ]+(\d+)(?::(\d+))?(?::(\d+))?)?/i;

/** The reference date of `units`, and how many days one unit is; null where they are no CF time units. */
function parseUnits(units) {
  const found = UNITS.exec(units ?? "");
  if (!found) return null;
  const daysPerUnit = DAYS_PER_UNIT.get(found[1].toLowerCase());
  if (daysPerUnit === undefined) return null;
  const [year, month, day, hour, minute, second] = found.slice(2).map((part) => Number(part ?? 0));
  return { daysPerUnit, year, month, day, dayFraction: hour / 24 + minute / 1440 + second / 86400 };
}

function monthLength(month, yearLength) {
  if (yearLength === 360) return 30;
  if (yearLength === 366 && month === 1) return 29;
  return MONTH_LENGTHS[month];
}

/** Days since 1970-01-01 of a Gregorian date (proleptic), by Howard Hinnant's days_from_civil. */
function gregorianDays(year, month, day) {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146097 + dayOfEra - 719468;
}

function gregorianDate(days) {
  const shifted = days + 719468;
  const era = Math.floor(shifted / 146097);
  const dayOfEra = shifted - era * 146097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36524) - Math.floor(dayOfEra / 146096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth + (shiftedMonth < 10 ? 3 : -9);
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return [year, month, day];
}

/** Days since 1970-01-01 of a Julian date, and back: the standard calendar is Julian before 1582-10-15. */
function julianDays(year, month, day) {
  const shifted = month <= 2 ? year - 1 : year;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return Math.floor(365.25 * shifted) + dayOfYear - 719470;
}

function julianDate(days) {
  const shifted = days + 719470;
  const year = Math.floor((4 * shifted + 3) / 1461);
  const dayOfYear = shifted - Math.floor((1461 * year) / 4);
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth + (shiftedMonth < 10 ? 3 : -9);
  return [year + (month <= 2 ? 1 : 0), month, day];
}

const REFORM = gregorianDays(1582, 10, 15);

function fixedDays(year, month, day, yearLength) {
  let days = year * yearLength + day - 1;
  for (let before = 0; before < month - 1; before += 1) days += monthLength(before, yearLength);
  return days;
}

function fixedDate(days, yearLength) {
  const year = Math.floor(days / yearLength);
  let left = days - year * yearLength;
  let month = 0;
  while (left >= monthLength(month, yearLength)) {
    left -= monthLength(month, yearLength);
    month += 1;
  }
  return [year, month + 1, left + 1];
}

function toDays(year, month, day, calendar) {
  const yearLength = FIXED_YEAR_LENGTHS.get(calendar);
  if (yearLength) return fixedDays(year, month, day, yearLength);
  if (calendar === "julian") return julianDays(year, month, day);
  const days = gregorianDays(year, month, day);
  return calendar === "proleptic_gregorian" || days >= REFORM ? days : julianDays(year, month, day);
}

function toDate(days, calendar) {
  const yearLength = FIXED_YEAR_LENGTHS.get(calendar);
  if (yearLength) return fixedDate(days, yearLength);
  if (calendar === "julian") return julianDate(days);
  return calendar === "proleptic_gregorian" || days >= REFORM ? gregorianDate(days) : julianDate(days);
}

function padded(number, width) {
  const sign = number < 0 ? "-" : "";
  return sign + String(Math.abs(number)).padStart(width, "0");
}

/**
 * A CF time value as "YYYY-MM-DD" or, where it is not midnight, "YYYY-MM-DDTHH:MM".
 * Units that are no CF time units give the number itself.
 */
export function dateText(value, units, calendar) {
  const parsed = parseUnits(units);
  if (!parsed || !Number.isFinite(value)) return String(value);
  const name = (calendar || "standard").toLowerCase();
  const start = toDays(parsed.year, parsed.month, parsed.day, name) + parsed.dayFraction;
  const minutes = Math.round((start + value * parsed.daysPerUnit) * 1440);
  const [year, month, day] = toDate(Math.floor(minutes / 1440), name);
  const date = `${padded(year, 4)}-${padded(month, 2)}-${padded(day, 2)}`;
  const minuteOfDay = minutes - Math.floor(minutes / 1440) * 1440;
  if (minuteOfDay === 0) return date;
  return `${date}T${padded(Math.floor(minuteOfDay / 60), 2)}:${padded(minuteOfDay % 60, 2)}`;
}

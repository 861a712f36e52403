// A colour scale that is read the same by people with colour blindness: viridis, at nine points.

const POINTS = [
  [68, 1, 84],
  [71, 44, 122],
  [59, 81, 139],
  [44, 113, 142],
  [33, 144, 141],
  [39, 173, 129],
  [92, 200, 99],
  [170, 220, 50],
  [253, 231, 37],
];

/** Red, green and blue (0 to 255) for a share of the range (0 to 1). */
export function colour(share) {
  const position = Math.min(0.9999, Math.max(0, share)) * (POINTS.length - 1);
  const lower = Math.floor(position);
  const part = position - lower;
  return POINTS[lower].map((value, channel) => value + (POINTS[lower + 1][channel] - value) * part);
}

/** The smallest and largest value that is a number; null where there is none. */
export function rangeOf(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? { low, high } : null;
}

/** A number with about four digits, as people write it. */
export function numberText(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(3);
  return String(Number(value.toPrecision(5)));
}

/** Bytes as people say them. */
export function sizeText(bytes) {
  return bytes < 1e6 ? `${Number((bytes / 1e3).toPrecision(3))} kB` : `${Number((bytes / 1e6).toPrecision(3))} MB`;
}

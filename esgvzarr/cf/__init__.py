"""CF conventions: which variable is time, which are its bounds, what numbers mean, and exact
arithmetic on time.
"""

from .dates import NO_DATE as NO_DATE
from .dates import calendar_of as calendar_of
from .dates import date_text as date_text
from .dates import dates_of as dates_of
from .dates import is_absolute as is_absolute
from .dates import months_of as months_of
from .dates import rebase as rebase
from .dates import reference_date as reference_date
from .dates import same_calendar as same_calendar
from .dates import to_microseconds as to_microseconds
from .numbers import meaning as meaning
from .numbers import missing as missing
from .numbers import unpacked as unpacked
from .roles import companion_attrs as companion_attrs
from .roles import coordinate_names as coordinate_names
from .roles import data_names as data_names
from .roles import dates_along as dates_along
from .roles import is_time as is_time
from .roles import named_as_bounds as named_as_bounds
from .roles import text_of as text_of
from .roles import time_companions as time_companions
from .roles import time_name as time_name
from .roles import time_references as time_references
from .roles import tracks_time as tracks_time
from .roles import unnamed_bounds as unnamed_bounds
from .units import units_meaning as units_meaning

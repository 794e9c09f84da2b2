"""Whether a column gives inputs what could be their labels, or is about something else: sizes, dates, checksums, links.

Its header says it where that is one of the usual words. Else its values do: what comes again and again may be classes,
and so may numbers that stand alone beside names; what is different for all, or the same, labels nothing.
"""

import re
from collections.abc import Sequence
from statistics import median

from service.intake.datasets.manifests import split_name

LABELS = frozenset(
    "label labels class classes category categories target targets species breed breeds diagnosis dx grade grades"
    " severity level tag tags truth gt annotation annotations outcome score rating genus family disease finding"
    " findings emotion expression gender sex style defect verdict quality status answer choices y".split()
)
ABOUT = frozenset(  # whatever the values are
    "url urls uri link links href http author authors artist photographer creator owner credit credits attribution user"
    " license licence licenses copyright rights source date datetime time timestamp created modified taken year month"
    " day hour title caption captions text description comment comments note notes alt md5 sha1 sha256 sha512 crc crc32"
    " checksum hash digest camera lens make model software device gps group patient subject session batch burst split"
    " fold subset partition set format mime mimetype extension suffix mode orientation flash iso uuid guid".split()
)
MEASURES = frozenset(  # where the values are numbers
    "width height size sizes bytes length area pixels depth channels bits dpi duration resolution latitude longitude"
    " lat lon lng altitude exposure aperture focal fnumber xmin ymin xmax ymax x1 y1 x2 y2 bbox box index idx number no"
    " count id row frame position order page offset w h kb mb x views".split()
)
EXIF = frozenset(
    "sourcefile make model exposuretime fnumber iso isospeedratings datetimeoriginal focallength filemodifydate"
    " exifversion lensmodel mimetype".split()
)
LARGE = 1000  # whole numbers as large, different for all, are sizes or times, not grades
LONG, WORDY = 60, 4  # characters and words of what is prose
_NUMBER = re.compile(r"[-+]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][-+]?[0-9]{1,3})?")
_TYPED = re.compile(  # a link, a date or time, a checksum, a place in memory, a file
    r"[a-z][a-z0-9+.]{1,8}://.*|[0-9]{4}[-:/.][0-9]{1,2}[-:/.][0-9]{1,2}.*|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}.*"
    r"|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?.*|(?=.*[0-9])[0-9a-f]{8,128}|.*\.(?:jpe?g|png|gif|tiff?|bmp|webp|heic|txt)",
    re.IGNORECASE,
)
_FIELD = "|".join(sorted(LABELS - {"y"}))
_LABELED = re.compile(  # JSON's `"category_id":`, XML's `<label>` and ` class="`
    rf'"(?:\w{{1,20}}_)?(?:{_FIELD})(?:_\w{{1,20}})?"\s{{0,3}}:|<(?:{_FIELD})[ >/]| (?:{_FIELD})="', re.IGNORECASE
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+[0-9]*|[0-9]+")


def words(header: str) -> set[str]:
    """The words of a column's name, lower case: `Image Label`, `image_label` and `imageLabel` alike."""
    return {word.lower() for word in _WORD.findall(header)} | {header.strip().lower()}


def has_label_field(text: str) -> bool:
    """Whether a field of JSON or XML is called as labels are."""
    return _LABELED.search(text) is not None


def is_of_cameras(header: Sequence[str]) -> bool:
    """Whether a table is what a camera wrote: its many columns repeat, and are no classes."""
    plain = {re.sub(r"[\W_]+", "", name.rpartition(":")[2]).lower() for name in header}
    return len(plain & EXIF) > 1


def is_label(header: str, cells: Sequence[str], *, alone: bool, strict: bool = False) -> bool:
    """Whether a column may be labels; `alone`: no other column may be, `strict`: its header must say that it is."""
    filled = [cell for cell in cells if cell]
    if 2 * len(filled) <= len(cells) or len(set(filled)) < 2 or all(map(split_name, set(filled))):
        return False
    if (named := words(header)) & LABELS and not ("y" in named and named <= {"y"} and not alone):
        return True
    return not strict and not is_about(header, filled) and _repeats(filled, alone)


def is_about(header: str, cells: Sequence[str]) -> bool:
    """Whether a column says something else of files, by its name or by what its values are."""
    named, numbers = words(header), [_NUMBER.fullmatch(cell) is not None for cell in cells]
    if named & LABELS:
        return False
    if named & ABOUT or (named & MEASURES and sum(numbers) > len(cells) // 2):
        return True
    return _is_typed(cells) or _counts_up(cells)


def is_number(cell: str) -> bool:
    """Whether a cell is one."""
    return _NUMBER.fullmatch(cell) is not None


def _is_typed(cells: Sequence[str]) -> bool:
    """Links, dates, checksums, names of files, or sentences: most of the values, and most of them different."""
    if not _are_different(cells):
        return False
    typed = sum(_TYPED.fullmatch(cell[:200]) is not None or _is_prose(cell) for cell in cells)
    return 2 * typed > len(cells)


def _is_prose(cell: str) -> bool:
    return len(cell) > LONG or len(cell.split()) >= WORDY


def _counts_up(cells: Sequence[str]) -> bool:
    """0, 1, 2, …: numbers of rows."""
    if len(cells) < 3 or not all(cell.isascii() and cell.isdecimal() and len(cell) < 10 for cell in cells):
        return False
    first = int(cells[0])
    return [int(cell) for cell in cells] == list(range(first, first + len(cells)))


def _are_different(cells: Sequence[str]) -> bool:
    return 2 * len(set(cells)) > len(cells)


def _repeats(cells: Sequence[str], alone: bool) -> bool:
    """Words and whole numbers that come again and again may be classes; any number may, where it stands alone."""
    numbers = [float(cell) for cell in cells if is_number(cell)]
    if 2 * len(numbers) <= len(cells):
        return not _are_different([cell for cell in cells if not is_number(cell)])
    if not _are_different(cells):
        return alone or all(number.is_integer() for number in numbers)
    return alone and median(map(abs, numbers)) < LARGE

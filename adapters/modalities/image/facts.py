"""What a file declares of its samples that Pillow's modes do not tell."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """By default what most files are: 8 bits, black is zero, alpha meant as such."""

    bits: int = 8  # of a sample, as stored
    significant: int = 16  # bits of a sample where it came from, if the file says so
    clear: tuple[int, ...] = ()  # the one colour that is transparent, in samples as stored: grey; or red, green, blue
    white_is_zero: bool = False
    declares_alpha: bool = True
    stored: int = 4  # bytes of a pixel in the file, unpacked

"""The resolutions of Open-Sora by name, each with its sizes by aspect.

Sides need not be multiples of anything: some of 144p are odd. The square resolutions have the aspects of
EasyAnimate, the others 17 of their own. Source: Open-Sora 1.1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ea_data.geometry.aspect import ASPECTS, AspectTable, parse_table

__all__ = [
    "RESOLUTIONS",
    "Resolution",
]


@dataclass(frozen=True)
class Resolution:
    """One resolution.

    Attributes:
        name: As in a bucket config.
        pixels: Nominal pixels of a frame, by which resolutions are ordered.
        aspects: Its sizes.
    """

    name: str
    pixels: int
    aspects: AspectTable


def _square(side: int) -> Resolution:
    sizes = tuple((height * side // 512, width * side // 512) for height, width in ASPECTS.sizes)
    return Resolution(str(side), side * side, AspectTable(ASPECTS.names, sizes, side))


def _video(name: str, pixels: int, sizes: str) -> Resolution:
    return Resolution(name, pixels, parse_table(sizes, math.sqrt(pixels)))


_ALL: Final = (
    _video("144p", 36864, """
        0.38=117x312 0.43=125x291 0.48=133x277 0.50=135x270 0.53=139x262 0.54=141x260 0.56=144x256
        0.62=151x241 0.67=156x234 0.75=166x221 1.00=192x192 1.33=221x165 1.50=235x156 1.78=256x144
        1.89=263x139 2.00=271x135 2.08=277x132
    """),
    _square(256),
    _video("240p", 102240, """
        0.38=196x522 0.43=210x490 0.48=222x462 0.50=226x452 0.53=232x438 0.54=236x436 0.56=240x426
        0.62=252x404 0.67=262x393 0.75=276x368 1.00=320x320 1.33=370x278 1.50=392x262 1.78=426x240
        1.89=440x232 2.00=452x226 2.08=462x222
    """),
    _video("360p", 230400, """
        0.38=294x784 0.43=314x732 0.48=332x692 0.50=340x680 0.53=350x662 0.54=352x652 0.56=360x640
        0.62=380x608 0.67=392x588 0.75=416x554 1.00=480x480 1.33=554x416 1.50=588x392 1.78=640x360
        1.89=660x350 2.00=678x340 2.08=692x332
    """),
    _square(512),
    _video("480p", 409920, """
        0.38=392x1046 0.43=420x980 0.48=444x925 0.50=452x904 0.53=466x880 0.54=470x870 0.56=480x854
        0.62=506x810 0.67=522x784 0.75=554x738 1.00=640x640 1.33=740x555 1.50=784x522 1.78=854x480
        1.89=880x466 2.00=906x454 2.08=924x444
    """),
    _video("720p", 921600, """
        0.38=588x1568 0.43=628x1466 0.48=666x1388 0.50=678x1356 0.53=698x1318 0.54=706x1306
        0.56=720x1280 0.62=758x1212 0.67=784x1176 0.75=832x1110 1.00=960x960 1.33=1108x832 1.50=1176x784
        1.78=1280x720 1.89=1320x698 2.00=1358x680 2.08=1386x666
    """),
    _square(1024),
    _video("1080p", 2073600, """
        0.38=882x2352 0.43=942x2198 0.48=998x2080 0.50=1018x2036 0.53=1048x1980 0.54=1058x1958
        0.56=1080x1920 0.62=1138x1820 0.67=1176x1764 0.75=1248x1664 1.00=1440x1440 1.33=1662x1246
        1.50=1764x1176 1.78=1920x1080 1.89=1980x1048 2.00=2036x1018 2.08=2078x998
    """),
    _video("4k", 8294400, """
        0.38=1764x4704 0.43=1886x4400 0.48=1996x4158 0.50=2036x4072 0.53=2096x3960 0.54=2118x3918
        0.62=2276x3642 0.56=2160x3840 0.67=2352x3528 0.75=2494x3326 1.00=2880x2880 1.33=3326x2494
        1.50=3528x2352 1.78=3840x2160 1.89=3958x2096 2.00=4072x2036 2.08=4156x1994
    """),
)  # fmt: skip

RESOLUTIONS: Final[Mapping[str, Resolution]] = MappingProxyType({entry.name: entry for entry in _ALL})
"""All resolutions, by rising pixels."""

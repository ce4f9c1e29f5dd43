"""Names of months in the languages of our receipts, as they look without accents and in lower case."""

import re
import unicodedata

_NAMES = (
    "january januar janvier enero gennaio januari janeiro janner jan janv ene gen",
    "february februar fevrier febrero febbraio februari fevereiro feb febr fev fevr pebruari peb",
    "march marz mars marzo maart maret mac marco mar mrt mrz maerz maer",
    "april avril abril aprile apr avr abr",
    "may mai mayo maggio mei maio mag",
    "june juni juin junio giugno jun junho jn giu",
    "july juli juillet julio luglio julai julho jul juil lug",
    "august aout agosto augustus agustus ogos aug ago agt agu ags",
    "september septembre septiembre settembre setembro sep sept set sett setiembre",
    "october oktober octobre octubre ottobre outubro oct okt ott out",
    "november novembre noviembre novembro nov nop",
    "december dezember decembre diciembre dicembre desember disember dezembro dec dez dic des dis",
)

MONTHS: dict[str, int] = {
    spelling: number
    for number, names in enumerate(_NAMES, 1)
    for name in names.split()
    for spelling in (name, name.replace("o", "0"))
}
"""Name or abbreviation -> 1..12, also with a zero read for an o. Numbered months are patterns of their own."""

MONTH_PATTERN = "(?:" + "|".join(sorted(map(re.escape, MONTHS), key=len, reverse=True)) + ")"


def fold(text: str) -> str:
    """Lower case without accents, so that `März`, `MARZ` and `märz` are one."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c)).replace("đ", "d")
    return unicodedata.normalize("NFC", bare)

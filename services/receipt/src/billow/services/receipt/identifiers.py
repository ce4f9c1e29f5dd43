"""Phone numbers, IBANs, tax ids and document numbers in one comparable form."""

import re

from billow.services.receipt.numerals import clean

_PHONE = re.compile(r"\(?\+?\(?[0-9OoIl][0-9OoIl().\s/-]{4,}[0-9OoIl]")
_NOT_PHONE = re.compile(r"#[0-9]+|[A-Za-z]{2,}")
_PHONE_SLIPS = str.maketrans({"O": "0", "o": "0", "I": "1", "l": "1"})
_SECOND_NUMBER = re.compile(r"[/,]|\bor\b", re.IGNORECASE)
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_IBAN_LABEL = re.compile(r"^\W*(?:IBAN|A/C|ACCOUNT)\W*(?:NO|NR)?\W*", re.IGNORECASE)
_SLIPS_TO_DIGITS = str.maketrans({"O": "0", "Q": "0", "I": "1", "L": "1", "S": "5", "B": "8", "Z": "2"})
_LABEL_WORDS = (
    r"(?:gst|vat|tax|ust|mwst|tva|iva|btw|abn|npwp|nif|cif|nipc|siret|siren|mst|ssm|co|reg|company|invoice|inv|rechnung"
    r"|rechnungs|facture|factura|fattura|fatura|bill|doc|document|receipt|number|nummer|numero|nr|no|id|ident|idnr"
    r"|reference|ref)"
)
_TAX_LABEL = re.compile(rf"^\W*(?:{_LABEL_WORDS}\b\W*)+(?=(?:\S{{1,4}} )?\S*[0-9])", re.IGNORECASE)
# A slash or hyphen after `INV` makes it a part of the number.
_NUMBER_LABEL = re.compile(rf"^\W*(?:{_LABEL_WORDS}[\s:#.°º]+)+(?=(?:\S{{1,4}} )?\S*[0-9])", re.IGNORECASE)
_NOT_ALPHANUMERIC = re.compile(r"[^A-Z0-9]")


def read_phone(text: str) -> str | None:
    """Digits with at most a leading `+`, of the first number; None unless there are 6 to 15 of them."""
    first, *others = _SECOND_NUMBER.split(text)
    # `02/511` is one number with a slash in it, `063966353/012349501` are two.
    alone = first if others and sum(map(str.isdigit, first)) >= 7 else text
    match = _PHONE.search(_NOT_PHONE.sub(" ", clean(alone)))
    if match is None or sum(map(str.isdigit, match.group())) < 5:
        return None
    printed = match.group().translate(_PHONE_SLIPS)
    digits = re.sub(r"\D", "", printed)
    if not 6 <= len(digits) <= 15 or not int(digits):
        return None
    return ("+" if "+" in printed else "") + digits


def read_iban(text: str) -> str | None:
    """Without spaces, in capitals. Where the check sum proves that letters stand for digits they are replaced."""
    compact = _NOT_ALPHANUMERIC.sub("", _IBAN_LABEL.sub("", clean(text)).upper())
    match = _IBAN.search(compact)
    if match is not None and is_iban(match.group()):
        return match.group()
    repaired = compact[:2] + compact[2:].translate(_SLIPS_TO_DIGITS)
    if _IBAN.fullmatch(repaired) and is_iban(repaired):
        return repaired
    return match.group() if match else None


def is_iban(compact: str) -> bool:
    """The check sum of ISO 13616: rearranged and with letters as 10..35 it leaves 1 modulo 97."""
    if _IBAN.fullmatch(compact) is None:
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def read_tax_id(text: str) -> str | None:
    """Letters and digits only, in capitals; None without a digit."""
    compact = _NOT_ALPHANUMERIC.sub("", _TAX_LABEL.sub("", clean(text)).upper())
    return compact if any(c.isdigit() for c in compact) else None


def read_document_number(text: str) -> str | None:
    """As printed, without its label and outer punctuation; None without a digit."""
    number = " ".join(_NUMBER_LABEL.sub("", clean(text)).split()).strip("#:;,.=*| ")
    return number if any(c.isdigit() for c in number) else None

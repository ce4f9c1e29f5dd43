"""The names that models give to words and records give to fields."""

from typing import Literal

Kind = Literal["receipt", "invoice"]
Lane = Literal["interactive", "bulk"]
Status = Literal["completed", "failed", "cancelled"]
Task = Literal["text-detection", "text-recognition", "token-classification"]

FIELD_NAMES: tuple[str, ...] = (
    "store_name",
    "store_address",
    "phone",
    "date",
    "time",
    "currency",
    "subtotal",
    "discount",
    "service_charge",
    "tax",
    "tip",
    "rounding",
    "total",
    "paid",
    "change",
    "payment_method",
    "invoice_number",
    "due_date",
    "seller_tax_id",
    "buyer_name",
    "buyer_address",
    "amount_due",
    "iban",
)
"""Fields of a record, in the order in which they are shown. Also the labels of single words."""

ITEM_KEYS: tuple[str, ...] = ("name", "quantity", "unit_price", "amount", "discount", "code")
"""Keys of a line item; as a word label `item.<key>`."""

TAX_KEYS: tuple[str, ...] = ("rate", "amount")
"""Keys of a row of the tax table; as a word label `tax.<key>`."""

NO_LABEL = ""
"""The label of a word that belongs to nothing we extract."""

WORD_LABELS: tuple[str, ...] = (
    NO_LABEL,
    *FIELD_NAMES,
    *(f"item.{key}" for key in ITEM_KEYS),
    *(f"tax.{key}" for key in TAX_KEYS),
)
"""Every label a token-classification model may answer with."""

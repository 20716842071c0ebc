"""The bank's file of a batch of payouts: ISO 20022 `pain.001.001.09`, a SEPA credit transfer, valid by the public schema.

The same batch is the same file byte by byte, with the same message id, so that a bank that is given it twice knows it again.
"""

import re
import xml.etree.ElementTree as ET
from datetime import datetime
from typing import Final, NamedTuple

from sepaxml import SepaTransfer
from sepaxml.validation import try_valid_xml
from text_unidecode import unidecode  # sepaxml's own

SCHEMA: Final = "pain.001.001.09"
NAMESPACE: Final = f"{{urn:iso:std:iso:20022:tech:xsd:{SCHEMA}}}"
CURRENCY: Final = "EUR"
# The schema's longest id.
LONGEST_ID: Final = 35
LONGEST_NAME: Final = 70
# The letters that every bank of the area takes, by the European Payments Council's rules.
FOREIGN: Final = re.compile(r"[^A-Za-z0-9/?:().,'+ -]+")


class Payment(NamedTuple):
    """One credit transfer. `end_to_end`: at most 35 letters, by which the bank's answer names it."""

    end_to_end: str
    holder: str
    iban: str
    cents: int
    text: str


def name_at_bank(name: str) -> str:
    """A name in the letters that banks take, at most 70 of them; empty where no letter and no digit is left."""
    latin = " ".join(FOREIGN.sub(" ", unidecode(name).replace("&", "+")).split())[:LONGEST_NAME].strip()
    return latin if any(map(str.isalnum, latin)) else ""


def transfer_file(batch: str, at: datetime, payer: tuple[str, str], payments: list[Payment]) -> bytes:
    """The file; `payer`: name and IBAN. Errors: ValueError, where the schema does not take it."""
    name, iban = payer
    transfer = SepaTransfer(
        {"name": name_at_bank(name), "IBAN": iban, "batch": True, "currency": CURRENCY}, schema=SCHEMA, clean=True
    )  # fmt: skip
    for payment in payments:
        transfer.add_payment({
            "name": name_at_bank(payment.holder), "IBAN": payment.iban, "amount": payment.cents, "execution_date": at.date(),
            "description": payment.text, "endtoend_id": payment.end_to_end,
        })  # fmt: skip
    document = ET.fromstring(transfer.export(validate=False))  # noqa: S314 - our own document
    _name(document, "MsgId", batch[:LONGEST_ID])
    _name(document, "PmtInfId", batch[:LONGEST_ID])
    _name(document, "CreDtTm", at.strftime("%Y-%m-%dT%H:%M:%S"))
    file: bytes = ET.tostring(document, encoding="utf-8", xml_declaration=True)
    try:
        try_valid_xml(file, SCHEMA)
    except Exception as error:
        raise ValueError(f"the bank's schema does not take the file: {str(error)[:500]}") from error
    return file


def _name(document: ET.Element, tag: str, text: str) -> None:
    for found in document.iter(f"{NAMESPACE}{tag}"):
        found.text = text

"""Hashes by which ad networks know a person who consents: of an address, a number, a word, in the form that they ask for."""

import hashlib
from typing import Final

HASH_LENGTH: Final = 64


def hashed_email(email: str) -> str:
    """SHA-256, lower hex, of the address, stripped, in lower case; what is a hash already stays (Snapchat CAPI)."""
    return _hashed(email.strip().lower())


def hashed_phone(phone: str) -> str:
    """SHA-256, lower hex, of the digits with the country code and without leading zeros (Snapchat CAPI)."""
    if _is_hash(phone.strip().lower()):
        return phone.strip().lower()
    return _hashed("".join(letter for letter in phone if letter.isdecimal()).lstrip("0"))


def hashed_word(word: str) -> str:
    """SHA-256, lower hex, of a name or country in lower case."""
    return _hashed(word.strip().lower())


def _is_hash(text: str) -> bool:
    return len(text) == HASH_LENGTH and not set(text) - set("0123456789abcdef")


def _hashed(text: str) -> str:
    return text if not text or _is_hash(text) else hashlib.sha256(text.encode()).hexdigest()

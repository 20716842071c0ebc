"""Names that come from outside (campaigns, ads, networks), in the one form in which they are kept and compared.

Whoever joins figures of ours with others', such as what was spent on a campaign, has to bring the other side's names into this
form, too: `name_of`, or `olo attribution name`. Laws: the form of a form is the form; no two names that look the same differ by
spaces, composition or what nobody sees; names too long to keep stay different from each other.
"""

import hashlib
import unicodedata
from typing import Final

MAX_NAME: Final = 256
# A name that is cut ends so: the mark, and some of the hash of the whole name.
MARK: Final = "~"
HASH: Final = 12
# What programs write where nothing was: no network, user or time is called so.
NOTHING: Final = frozenset({"", "null", "none", "nil", "undefined", "nan", "n/a", "(none)", "(null)", "(not set)", "-"})


def name_of(text: str) -> str:
    """The name: composed (NFC), each run of spaces of any kind one space, none at the ends, nothing that cannot be printed; one
    of more than MAX_NAME characters is cut, and ends with the mark and a hash."""
    shown = "".join(letter for letter in text if letter.isspace() or letter.isprintable())
    name = unicodedata.normalize("NFC", " ".join(shown.split()))
    if len(name) <= MAX_NAME:
        return name
    end = MARK + hashlib.sha256(name.encode()).hexdigest()[:HASH]
    return name[: MAX_NAME - len(end)].rstrip() + end


def known(text: str) -> str:
    """The name, or empty where the text only says that there is none, as `null` and `N/A` do."""
    name = name_of(text)
    return "" if name.lower() in NOTHING else name

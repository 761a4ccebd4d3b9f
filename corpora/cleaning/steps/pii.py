"""Personal data masked: e-mail and IP addresses, bank accounts, payment cards, phone numbers.

Patterns and checks are those of kept libraries that need neither a model nor a network: datatrove's for addresses,
python-stdnum's check digits for accounts (ISO 13616, mod 97) and cards (ISO/IEC 7812, Luhn), Google's libphonenumber
for phones. presidio's recognisers would do the same but pull spaCy in; scrubadub's need its models. Names of people
are not looked for: without a model that cannot be done well.
"""

import re
from collections import Counter
from collections.abc import Callable

from corpora.cleaning.content import rewritten
from corpora.formats.formats import Item
from recipes.cleaning import Pii

_ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d.,-])\d(?:[ -]?\d){12,18}(?![\d-])")
_DIGITS = re.compile(r"\d(?:[\s().+/-]{0,3}\d){6}")
"""Seven digits close together: where there are none there is no phone number, and libphonenumber is slow."""

Mask = Callable[[str, Counter[str]], str]


def pii(step: Pii) -> Callable[[Item, Counter[str]], Item]:
    masks = [_MASKS[entity](step) for entity in _MASKS if entity in step.entities]

    def apply(item: Item, masked: Counter[str]) -> Item:
        def change(text: str) -> str:
            for mask in masks:
                text = mask(text, masked)
            return text

        before = masked.total()
        changed = rewritten(item, change)
        return changed if masked.total() > before else item

    return apply


def _emails(_: Pii) -> Mask:
    from datatrove.pipeline.formatters.pii import PIIFormatter

    found = _masking("email", PIIFormatter().emails_replacer.regex, lambda _: True)
    return lambda text, masked: found(text, masked) if "@" in text else text


def _addresses(_: Pii) -> Mask:
    """Public ones: those of private networks and documentation name no one."""
    from datatrove.pipeline.formatters.pii import PIIFormatter

    replacer = PIIFormatter().ip_replacer
    return _masking("ip", re.compile(rf"(?<![\d.]){replacer.regex.pattern}(?![\d.]*\d)"), replacer.validator)


def _accounts(_: Pii) -> Mask:
    from stdnum import iban

    return _masking("iban", _ACCOUNT, iban.is_valid)


def _cards(_: Pii) -> Mask:
    from stdnum import luhn

    return _masking("card", _CARD, lambda text: luhn.is_valid(re.sub(r"[ -]", "", text)) and len(set(text)) > 2)


def _phones(step: Pii) -> Mask:
    import phonenumbers

    regions: list[str | None] = [*step.regions] or [None]
    unknown = set(step.regions) - set(phonenumbers.SUPPORTED_REGIONS)
    if unknown:
        from lineage.errors import CorpusError

        raise CorpusError(f"steps.pii.regions: {sorted(unknown)} are no countries that phone numbers are known of")

    def mask(text: str, masked: Counter[str]) -> str:
        if not _DIGITS.search(text):
            return text
        for region in regions:
            for match in reversed(list(phonenumbers.PhoneNumberMatcher(text, region))):
                text = f"{text[: match.start]}[PHONE]{text[match.end :]}"
                masked["phone"] += 1
        return text

    return mask


def _masking(entity: str, pattern: re.Pattern[str], valid: Callable[[str], bool]) -> Mask:
    label = f"[{entity.upper()}]"

    def mask(text: str, masked: Counter[str]) -> str:
        def put(match: re.Match[str]) -> str:
            if not valid(match.group()):
                return match.group()
            masked[entity] += 1
            return label

        return pattern.sub(put, text)

    return mask


_MASKS = {"email": _emails, "ip": _addresses, "iban": _accounts, "card": _cards, "phone": _phones}

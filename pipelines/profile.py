"""Profiles: `profile`, the public part, and `private_profile`, the private one; both keyed by user.

State: `schemas.profile`. Laws: facts about the private part never hold its contents; each time that staff sees it is a fact.
Attribution is told the hashes of e-mail and phone, by which ad networks know a user who consents.
"""

from collections.abc import Sequence

from msgspec.structs import asdict

from schemas.ads import ShareHashes, hashed_email, hashed_phone
from schemas.log.base import Message, UserId, Wake, derived_id
from schemas.profile import (
    PrivateProfile,
    PrivateProfileInbox,
    PrivateProfilePut,
    PrivateProfileRead,
    PrivateProfileRefused,
    Profile,
    ProfileInbox,
    ProfilePut,
    ProfileRefusal,
    PutPrivateProfile,
    ReadPrivateProfile,
)


def decide_profile(profile: Profile | None, message: ProfileInbox) -> tuple[Profile | None, Sequence[Message]]:
    """Decide one message of a public profile."""
    if isinstance(message, Wake):
        return profile, ()
    shown = {name: value for name, value in asdict(message).items() if name not in ("id", "at", "user")}
    put = ProfilePut(id=derived_id(message.id, 0), at=message.at, cause=message.id, user=UserId(message.user), **shown)
    return Profile(**shown, changed_at=message.at), (put,)


def decide_private_profile(
    profile: PrivateProfile | None, message: PrivateProfileInbox
) -> tuple[PrivateProfile | None, Sequence[Message]]:
    """Decide one message of a private profile."""
    match message:
        case Wake():
            return profile, ()
        case PutPrivateProfile():
            after = PrivateProfile(message.birth_date, message.email, message.phone, message.legal_name)
            told = tuple(name for name, value in asdict(after).items() if value)
            put = PrivateProfilePut(
                id=derived_id(message.id, 0), at=message.at, cause=message.id, user=UserId(message.user), told=told
            )
            hashes = ShareHashes(
                id=derived_id(message.id, "hashes"), at=message.at, user=UserId(message.user),
                email_sha256=hashed_email(message.email), phone_sha256=hashed_phone(message.phone),
            )  # fmt: skip
            return after, (put, hashes)
        case ReadPrivateProfile():
            return profile, (_read(profile, message),)


def _read(profile: PrivateProfile | None, message: ReadPrivateProfile) -> Message:
    id_, user, by = derived_id(message.id, 0), UserId(message.user), UserId(message.by)
    if profile is None:
        return PrivateProfileRefused(
            id=id_, at=message.at, cause=message.id, user=user, by=by, refusal=ProfileRefusal.PROFILE_UNKNOWN
        )
    return PrivateProfileRead(id=id_, at=message.at, cause=message.id, user=user, by=by, reason=message.reason)

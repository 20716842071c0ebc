"""Profiles: `profile`, the public part, and `private_profile`, the private one; both keyed by user.

State: `schemas.profile`. Laws: facts about the private part never hold its contents; each time that staff sees it is a fact.
Attribution is told the hashes of e-mail and phone, by which ad networks know a user who consents.
"""

from collections.abc import Sequence

from msgspec.structs import asdict

from schemas.ads import ShareHashes, hashed_email, hashed_phone
from schemas.log.base import Message, UserId, Wake, derive, reply, same_fields
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
    ProfileRefused,
    PutPrivateProfile,
    PutProfile,
    ReadPrivateProfile,
)
from schemas.user import UserErased


def decide_profile(profile: Profile | None, message: ProfileInbox) -> tuple[Profile | None, Sequence[Message]]:
    """Decide one message of a public profile."""
    match message:
        case UserErased():
            return Profile(erased_at=message.at), ()
        case Wake():
            return (None if profile is not None and profile.is_due(message.at) else profile), ()
        case PutProfile() if profile is not None and profile.erased_at is not None:
            return profile, (ProfileRefused(**reply(message), user=message.user, refusal=ProfileRefusal.PROFILE_ERASED),)
    put = ProfilePut(**reply(message), **same_fields(message, ProfilePut))
    return Profile(**same_fields(message, Profile), changed_at=message.at), (put,)


def decide_private_profile(
    profile: PrivateProfile | None, message: PrivateProfileInbox
) -> tuple[PrivateProfile | None, Sequence[Message]]:
    """Decide one message of a private profile."""
    match message:
        case UserErased():
            return PrivateProfile(erased_at=message.at), ()
        case Wake():
            return (None if profile is not None and profile.is_due(message.at) else profile), ()
        case PutPrivateProfile() if profile is not None and profile.erased_at is not None:
            erased = ProfileRefusal.PROFILE_ERASED
            return profile, (PrivateProfileRefused(**reply(message), user=message.user, refusal=erased),)
        case PutPrivateProfile():
            after = PrivateProfile(**same_fields(message, PrivateProfile))
            known = tuple(name for name, value in asdict(after).items() if value)
            put = PrivateProfilePut(**reply(message), user=message.user, told=known)
            email, phone = hashed_email(message.email), hashed_phone(message.phone)
            hashes = ShareHashes(**derive(message, "hashes"), user=message.user, email_sha256=email, phone_sha256=phone)
            return after, (put, hashes)
        case ReadPrivateProfile():
            return profile, (_read(profile, message),)


def _read(profile: PrivateProfile | None, message: ReadPrivateProfile) -> Message:
    user, by = message.user, UserId(message.by)
    if profile is None or profile.erased_at is not None:
        return PrivateProfileRefused(**reply(message), user=user, by=by, refusal=ProfileRefusal.PROFILE_UNKNOWN)
    return PrivateProfileRead(**reply(message), user=user, by=by, reason=message.reason)

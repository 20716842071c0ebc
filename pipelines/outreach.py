"""Outreach: the book of campaigns, and who may write for one now. Whom it is written to: `pipelines.recipient`.

States: `schemas.outreach`. Laws: each change of the book is a version, and told to every partition of recipients; the share of
the people that a notice has come to only grows, whatever is paused, resumed or paced anew; whoever may write for a campaign
takes turns, and nobody is asked to write to a person to whom they have written.
Refusals: `schemas.outreach.OutreachRefusal`.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from schemas.log.base import Message, UserId, Wake, derive, reply, same_fields
from schemas.log.codec import encode
from schemas.log.entity import broadcast_keys, log_partitions
from schemas.outreach import (
    MAX_BOOK_BYTES,
    MAX_CAMPAIGNS,
    MAX_SPREAD_S,
    MAX_THERE,
    AskWriter,
    Campaign,
    CampaignBook,
    CampaignPut,
    CampaignRemoved,
    OfferWriter,
    OutreachInbox,
    OutreachRefusal,
    OutreachRefused,
    PutCampaign,
    ShareOutreach,
    TellWriter,
    Writers,
    WritersInbox,
)


def decide_outreach(book: CampaignBook | None, message: OutreachInbox) -> tuple[CampaignBook | None, Sequence[Message]]:
    """Decide one message of the book of campaigns."""
    if isinstance(message, Wake):
        return book, ()
    state = book or CampaignBook()
    name = message.campaign.campaign if isinstance(message, PutCampaign) else message.campaign
    before = next((one for one in state.campaigns if one.campaign == name), None)
    others = tuple(one for one in state.campaigns if one.campaign != name)
    refusal = None
    if not isinstance(message, PutCampaign):
        refusal = OutreachRefusal.CAMPAIGN_UNKNOWN if before is None else None
    elif len(others) >= MAX_CAMPAIGNS:
        refusal = OutreachRefusal.TOO_MANY_CAMPAIGNS
    elif len(encode((*others, message.campaign))) > MAX_BOOK_BYTES:
        refusal = OutreachRefusal.CAMPAIGNS_TOO_LONG
    if refusal is not None:
        return book, (OutreachRefused(**reply(message), book=message.book, campaign=name, refusal=refusal),)
    version = state.version + 1
    fact: Message
    if isinstance(message, PutCampaign):
        put = _paced(message, before, version)
        after = CampaignBook(version, (*others, put))
        fact = CampaignPut(**reply(message), book=message.book, campaign=put, version=version, by=message.by)
    else:
        after = CampaignBook(version, others)
        fact = CampaignRemoved(**reply(message), **same_fields(message, CampaignRemoved), version=version)
    shares = [
        ShareOutreach(**derive(message, f"to/{key}"), user=UserId(key), shared=after)
        for key in broadcast_keys(log_partitions())
    ]
    return after, (fact, *shares)


def _paced(message: PutCampaign, before: Campaign | None, version: int) -> Campaign:
    """The campaign with its pace: what is left of the people is told from now on, at the pace of now. One of the other kind
    under the same name is another campaign."""
    put = message.campaign
    if before is not None and bool(before.notice) != bool(put.notice):
        before = None
    people: float = message.people
    if before is not None and not people:
        people = before.spread_s * before.pace_per_s
    return replace(
        put,
        spread_s=min(people / put.pace_per_s, MAX_SPREAD_S),
        done=before.done_at(message.at) if before is not None else 0.0,
        since=message.at if put.running else None,
        begun=before.begun if before is not None else version,
    )


def decide_outreach_writers(writers: Writers | None, message: WritersInbox) -> tuple[Writers | None, Sequence[Message]]:
    """Decide one message of those who may write for a campaign."""
    there = writers.there if writers is not None else ()
    match message:
        case Wake():
            return writers, ()
        case OfferWriter():
            after = (*(one for one in there if one != message.user), message.user)[-MAX_THERE:]
            return Writers(after), ()
    others = tuple(one for one in there if one != message.user)
    if not isinstance(message, AskWriter):
        return Writers(others) if others else None, ()
    writer = next((one for one in others if one not in message.avoid), "")
    told = TellWriter(**derive(message, "writer"), user=message.user, campaign=message.campaign, writer=writer)
    if writer:
        there = (*(one for one in there if one != writer), writer)
    return Writers(there) if there else None, (told,)

"""What is kept of an AppsFlyer push beside its touch."""

from schemas.log.base import State
from schemas.user import Code


class PushDetails(State):
    """What else analysts are told of a push, under AppsFlyer's names (`revenue` to `content_type` have `af_` there, inside the
    event's value). A field is a code or a number, or empty; whatever stands in a push and not here, is kept nowhere."""

    app_version: Code = ""
    os_version: Code = ""
    sdk_version: Code = ""
    device_category: Code = ""
    device_model: Code = ""
    language: Code = ""
    match_type: Code = ""
    event_source: Code = ""
    is_retargeting: Code = ""
    is_primary_attribution: Code = ""
    install_app_store: Code = ""
    event_revenue: Code = ""
    event_revenue_currency: Code = ""
    revenue: Code = ""
    currency: Code = ""
    quantity: Code = ""
    content_id: Code = ""
    content_type: Code = ""
    unattributed: Code = ""
    af_prt: Code = ""

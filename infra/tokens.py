"""Development tokens: unsigned Firebase ID tokens, as the Firebase emulator makes them. Production takes none of them."""

import base64
import json
import time
from typing import Any


def token(project: str, user: str, role: str, *, lives_s: int = 86_400, **claims: Any) -> str:
    """An ID token for `user` with the custom claim `role`, valid for `lives_s` seconds."""
    moment = int(time.time())
    payload = {
        "iss": f"https://securetoken.google.com/{project}",
        "aud": project,
        "sub": user,
        "user_id": user,
        "auth_time": moment,
        "iat": moment,
        "exp": moment + lives_s,
        "role": role,
        "firebase": {"sign_in_provider": "custom"},
        **claims,
    }
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(payload)}."


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

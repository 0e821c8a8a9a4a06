"""Authentication: 401 for a stranger before accept, 4401 when a token has expired.

    triows run examples.auth:app

Then get a token for ten seconds, and use it:

    python -m examples.auth joe 10
    triows connect "ws://127.0.0.1:8000/account?token=..."

A message {"token": "..."} with a fresh one keeps the connection open.
"""

import hashlib
import hmac
import sys
import time

from triows import App, Close, Reject, websocket

SECRET = b"a real one comes from the environment"

app = App(__name__)


@app.websocket()
async def account():
    token = websocket.query_params.token
    user, seconds = verify(token if isinstance(token, str) else "")  # missing, or there twice
    if user is None:
        raise Reject(401, "who are you?", headers={"WWW-Authenticate": "Bearer"})
    websocket.expire_after(seconds)
    await websocket.send(f"welcome, {user}")
    while True:
        message = await websocket.receive_json()
        if not (isinstance(message, dict) and isinstance(message.get("token"), str)):
            raise Close(4400, 'send {"token": "..."}')
        same, seconds = verify(message["token"])
        if same != user:
            raise Close(4403, "that is somebody else's token")
        websocket.expire_after(seconds)
        await websocket.send(f"another {seconds:.0f} s")


def issue(user, seconds):
    """Return a token that proves who its bearer is, for so many seconds."""
    claim = f"{user}.{int((time.time() + seconds) * 1000)}"
    return f"{claim}.{sign(claim)}"


def verify(token):
    """Return who a token belongs to and its seconds left; None and 0 if it is no good."""
    claim, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), sign(claim).encode()):
        return None, 0
    user, _, expiry = claim.rpartition(".")
    seconds = int(expiry) / 1000 - time.time()
    return (user, seconds) if seconds > 0 else (None, 0)


def sign(claim):
    """Return the signature of a claim."""
    return hmac.new(SECRET, claim.encode(), hashlib.sha256).hexdigest()


if __name__ == "__main__":
    print(issue(sys.argv[1], float(sys.argv[2])))

"""Sends what is in the outbox until SIGTERM, as docs/outbox.md says. Without Postgres it ends: start it again."""
import base64, hmac, http.client, json, os, signal, threading, time
from urllib import request
import psycopg
from statements import CLAIM, DELETE, MARK

class AnyAnswer(request.HTTPErrorProcessor):  # No redirect, which would turn the POST into a GET.
    http_response = https_response = lambda self, request, response: response
URL, KEY = os.environ["RECEIVER_URL"], base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())

def post(id, body):  # Returns what became of a delivery, as MARK reads it.
    now = str(int(time.time()))
    signature = base64.b64encode(hmac.digest(KEY, f"{id}.{now}.{body}".encode(), "sha256")).decode()
    headers = {"webhook-id": id, "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"}
    try:
        with request.build_opener(AnyAnswer).open(request.Request(URL, body.encode(), headers), timeout=20) as answer:
            status, wait, text = answer.status, answer.headers["retry-after"] or "", answer.read(65536).decode()
        said = json.loads(text) if text.startswith("{") else {}
    except (OSError, ValueError, http.client.HTTPException) as problem:
        return {"state": "failed", "error": repr(problem)}
    if status == 200 and said.get("status") in ("recorded", "duplicate"): return {"state": "sent"}
    state = "parked" if status in (400, 409, 413) and "error" in said and "stage" in said else "failed"
    return {"state": state, "error": f"{status} {text[:1000]}", "retry_after": int(wait) if wait.isdigit() else None}

pause = 0  # In seconds: 5 or more while the receiver is away.
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, cursor_factory=psycopg.RawCursor) as db:
    while not stop.wait(pause):
        until, tried = time.monotonic() + 30, []  # A claim ends after a minute.
        outcome = post("outbox-ping", "[]") if pause >= 5 else {"state": "sent"}
        rows, pause = (db.execute(CLAIM).fetchall(), 1) if outcome["state"] != "failed" else ([], 5)
        for id, body, claimed_until in rows:
            outcome = {"state": "untried"}
            if pause < 5 and time.monotonic() < until and not stop.is_set():
                outcome, pause = post(id, body), 0
                if outcome["state"] == "failed" and post("outbox-ping", "[]")["state"] == "failed": pause = 5
            tried.append({"id": id, "claimed_until": claimed_until.isoformat(), **outcome})
        db.execute(MARK, [json.dumps(tried)])
        db.execute(DELETE)

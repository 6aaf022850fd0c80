"""What schemathesis cannot know of Backlot: somebody who is signed in, things that exist, and that each answer lists its reasons."""

import json
import os
import re
import urllib.request
import uuid
import zlib

import schemathesis

URL = os.environ["BACKLOT_FUZZ_URL"]
PASSWORD = "correct horse battery staple 7"


def send(method, path, body=None, headers=None):
    """One request outside of the cases: status, headers and text."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data=data, method=method, headers={"content-type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.headers, answer.read().decode()


class Person:
    """An account with a project, a turn that has ended, and a preview."""

    def __init__(self):
        self.cookie = self.sign_up()
        self.token = self.access_token()
        _, headers, events = send("POST", "/api/agent/stream", {"draftId": "fuzz", "prompt": "a counter"}, self.bearer())
        self.turn = headers["x-backlot-turn-id"]
        accepted = next(line for line in events.splitlines() if line.startswith("data: ") and "turn.accepted" in line)
        self.project = json.loads(accepted.removeprefix("data: "))["data"]["projectId"]

    @staticmethod
    def sign_up():
        _, headers, _ = send("POST", "/api/auth/signup", {"email": f"{uuid.uuid4().hex}@example.com", "password": PASSWORD})
        return headers["set-cookie"].split(";")[0]

    def access_token(self):
        return json.loads(send("POST", "/api/auth/token", {}, {"cookie": self.cookie})[2])["accessToken"]

    def bearer(self):
        return {"authorization": f"Bearer {self.token}"}

    def new_preview(self):
        url = json.loads(send("POST", f"/api/projects/{self.project}/previews", {}, self.bearer())[2])["url"]
        return re.search("[a-z2-7]{26}", url).group()

    def new_project(self):
        return json.loads(send("POST", "/api/projects", {}, self.bearer())[2])["id"]


person = Person()


@schemathesis.auth(refresh_interval=120)
class Bearer:
    def get(self, case, context):
        person.token = person.access_token()
        return person.token

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"


def chance(case, salt, of):
    """Whether a case is one of `of`; the same case always is or is not."""
    text = f"{salt} {case.operation.label} {case.path_parameters!r} {case.query!r} {case.body!r}"
    return zlib.crc32(text.encode(errors="replace")) % of == 0


def meant(name):
    """The thing that exists under a name in a path, a query or a body."""
    return {
        "project_id": person.project,
        "projectId": person.project,
        "turn_id": person.turn,
        "turnId": person.turn,
        "name": "builder",
        "path": "index.html",
        "id": person.project,
        "threadId": person.project,
        "agent": "builder",
        "model": "demo/demo",
    }.get(name)


# What names something that nobody has made, or sets a condition that cannot hold.
LEFT_OUT = ["replacesTurnId", "baseRevision", "revision", "clientMessageId", "pageToken", "ifMatch", "If-Match", "etag", "after"]


def point(case, values):
    """Most cases are about things that exist, the others about what was generated."""
    for name in LEFT_OUT:
        if hasattr(values, "pop") and name in values and not chance(case, name, 4):
            values.pop(name)
    changes = values.get("changes") if isinstance(values, dict) else None
    for at, change in enumerate(changes if isinstance(changes, list) else []):
        if isinstance(change, dict) and not chance(case, at, 4):
            change["path"] = f"file-{at}.txt"
            change.pop("etag", None)
    for name in list(values) if isinstance(values, dict) else []:
        if meant(name) is not None and not chance(case, name, 4):
            values[name] = meant(name)
            if name == "projectId":
                values.pop("draftId", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation
    for values in (case.path_parameters, case.query, case.headers, case.body):
        point(case, values)
    if operation.method.upper() == "DELETE" and operation.path == "/api/projects/{project_id}" and chance(case, "delete", 3):
        case.path_parameters["project_id"] = person.new_project()
    elif operation.method.upper() == "DELETE" and operation.path == "/api/projects/{project_id}":
        # The person's own stays.
        case.path_parameters["project_id"] = str(uuid.uuid4())
    if "capability" in (case.path_parameters or {}) and chance(case, "preview", 2):
        case.path_parameters["capability"] = person.new_preview()
    if operation.path == "/api/auth/signout" and case.headers is not None:
        # The person stays signed in: somebody else goes.
        case.headers.pop("Authorization", None)
        case.headers["Cookie"] = Person.sign_up()
    if operation.path == "/api/auth/token" and case.headers is not None and not chance(case, "cookie", 4):
        case.headers.pop("Authorization", None)
        case.headers["Cookie"] = person.cookie


@schemathesis.check
def documented_reason(ctx, response, case):
    """A refusal is one of the reasons that the document lists for it."""
    if response.status_code < 400:
        return
    document = case.operation.schema.raw_schema
    method = document["paths"][case.operation.path].get(case.method.lower(), {})
    answer = method.get("responses", {}).get(str(response.status_code))
    if answer is None:
        # A status or a method that is not documented is another check's business.
        return
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    reason = response.json()["reason"]
    assert reason in answer["x-reasons"], f"{response.status_code} {reason} is not documented"

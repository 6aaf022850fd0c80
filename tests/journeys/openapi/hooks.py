"""Hooks of schemathesis: authentication, ids of existing resources, and a check of the documented reasons."""

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
    """Sends a request outside the cases. Returns the status, the headers and the text."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data=data, method=method, headers={"content-type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.headers, answer.read().decode()


class Person:
    """An account with a project and a turn that has ended."""

    def __init__(self):
        self.cookie = self.sign_up()
        self.token = self.access_token()
        _, headers, events = send("POST", "/api/agent/stream", {"draftId": "fuzz", "prompt": "a counter"}, self.bearer())
        self.turn = headers["x-backlot-turn-id"]
        accepted = next(line for line in events.splitlines() if line.startswith("data: ") and "turn.accepted" in line)
        self.project = json.loads(accepted.removeprefix("data: "))["data"]["projectId"]
        self.revision = json.loads(send("GET", f"/api/projects/{self.project}", headers=self.bearer())[2])["headRevision"]
        self.template = self.new_template()

        messages = send("GET", f"/api/projects/{self.project}/messages", headers=self.bearer())[2]
        self.message = json.loads(messages)["messages"][0]["id"]

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

    def new_label(self):
        label = uuid.uuid4().hex
        send("PUT", f"/api/projects/{self.project}/labels/{label}", {"revision": self.revision}, self.bearer())
        return label

    def new_template(self):
        body = {"projectId": self.project, "title": "Fuzz", "variables": [{"name": "a", "label": "A", "pattern": "[a-z]*"}]}
        return json.loads(send("POST", "/api/templates", body, self.bearer())[2])["id"]

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


def is_selected(case, salt, of):
    """Selects one of `of` cases, deterministically by the case."""
    text = f"{salt} {case.operation.label} {case.path_parameters!r} {case.query!r} {case.body!r}"
    return zlib.crc32(text.encode(errors="replace")) % of == 0


def existing(name):
    """The id of the existing resource for a name in a path, a query or a body."""
    return {
        "project_id": person.project,
        "projectId": person.project,
        "template_id": person.template,
        "templateId": person.template,
        "turn_id": person.turn,
        "turnId": person.turn,
        "revision": person.revision,
        "message_id": person.message,
        "name": "builder",
        "path": "index.html",
        "id": person.project,
        "threadId": person.project,
        "agent": "builder",
        "model": "demo/demo",
    }.get(name)


# The operations that end sessions.
ENDING = ["/api/auth/signout", "/api/auth/sessions:revoke", "/api/auth/sessions/{session_id}", "/api/auth/account:delete"]

# Fields that refer to something missing or set a condition that cannot hold.
REMOVED = ["replacesTurnId", "baseRevision", "clientMessageId", "pageToken", "ifMatch", "If-Match", "etag", "after"]


def use_existing(case, values):
    """Replaces most generated values with existing resources."""
    for name in REMOVED:
        if hasattr(values, "pop") and name in values and not is_selected(case, name, 4):
            values.pop(name)
    changes = values.get("changes") if isinstance(values, dict) else None
    for at, change in enumerate(changes if isinstance(changes, list) else []):
        if isinstance(change, dict) and not is_selected(case, at, 4):
            change["path"] = f"file-{at}.txt"
            change.pop("etag", None)
    for name in list(values) if isinstance(values, dict) else []:
        if existing(name) is not None and not is_selected(case, name, 4):
            values[name] = existing(name)
            if name == "projectId":
                values.pop("draftId", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation
    for values in (case.path_parameters, case.query, case.headers, case.body):
        use_existing(case, values)
    if operation.method.upper() == "DELETE" and operation.path == "/api/projects/{project_id}" and is_selected(case, "delete", 3):
        case.path_parameters["project_id"] = person.new_project()
    elif operation.method.upper() == "DELETE" and operation.path == "/api/projects/{project_id}":
        # The project of the account must not be deleted.
        case.path_parameters["project_id"] = str(uuid.uuid4())
    if operation.method.upper() == "DELETE" and operation.path == "/api/templates/{template_id}":
        # The template of the account must not be deleted.
        case.path_parameters["template_id"] = str(uuid.uuid4())
    if operation.path == "/api/projects/{project_id}/events" and case.path_parameters["project_id"] == person.project:
        # The stream of a project that exists has no end.
        case.path_parameters["project_id"] = str(uuid.uuid4())
    if "capability" in (case.path_parameters or {}) and is_selected(case, "preview", 2):
        case.path_parameters["capability"] = person.new_preview()
    if "label" in (case.path_parameters or {}) and operation.method.upper() == "DELETE" and is_selected(case, "label", 2):
        case.path_parameters["label"] = person.new_label()
    if operation.path in ENDING and case.headers is not None:
        # A new account signs out or ends its sessions, because this one must stay signed in.
        case.headers.pop("Authorization", None)
        case.headers["Cookie"] = Person.sign_up()
        if operation.path == "/api/auth/sessions/{session_id}" and is_selected(case, "session", 2):
            session = send("GET", "/api/auth/session", headers={"cookie": case.headers["Cookie"]})[2]
            case.path_parameters["session_id"] = json.loads(session)["session"]["id"]
    if operation.path == "/api/auth/token" and case.headers is not None and not is_selected(case, "cookie", 4):
        case.headers.pop("Authorization", None)
        case.headers["Cookie"] = person.cookie


@schemathesis.check
def documented_reason(ctx, response, case):
    """Checks that the document lists the reason of a refusal."""
    if response.status_code < 400:
        return
    document = case.operation.schema.raw_schema
    method = document["paths"][case.operation.path].get(case.method.lower(), {})
    answer = method.get("responses", {}).get(str(response.status_code))
    if answer is None:
        # Another check reports undocumented statuses and methods.
        return
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    body = response.json()
    if "reason" not in body and "application/json" in answer.get("content", {}):
        # An error of OAuth, which has no reason. The schema lists the values of `error`.
        return
    reason = body["reason"]
    assert reason in answer["x-reasons"], f"{response.status_code} {reason} is not documented"

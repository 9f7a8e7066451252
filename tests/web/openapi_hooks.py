"""[Hooks of schemathesis](https://schemathesis.readthedocs.io/) for `test_openapi.py`.

They replace well-formed generated passwords by correct ones, replace session cookies by the cookie of a live session (earlier
requests may have ended the session), and write method, path, status and media type of each response to the file
`SEALJAR_ANSWERS`.
"""

import json
import os
import re

import requests
import schemathesis

COOKIE, LOGIN = "__Host-sealjar", "alice"
LOGIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# The first is the current password. The other is the next one.
PASSWORDS = [os.environ["SEALJAR_PASSWORD"], "a battery of correct horses"]


class Session:
    """All cookie values that the server set for the session. The last one is current."""

    cookies = []
    ended = True

    @staticmethod
    def live() -> str:
        if Session.ended:
            body = {"login": LOGIN, "password": PASSWORDS[0]}
            answer = requests.post(f"{os.environ['SEALJAR_ORIGIN']}/auth/login", json=body, timeout=60)
            answer.raise_for_status()
            Session.cookies.append(answer.headers["Set-Cookie"].partition(";")[0].partition("=")[2])
            Session.ended = False
        return Session.cookies[-1]

    def get(self, case, context):
        return Session.live()

    def set(self, case, data, context):
        case.cookies[COOKIE] = data


if os.environ.get("SEALJAR_SESSION"):
    schemathesis.auth(refresh_interval=None)(Session)


@schemathesis.hook
def before_call(context, case, kwargs):
    # Schemathesis may generate several requests before it sends the first one, so the cookie may be outdated.
    if case.cookies and case.cookies.get(COOKIE) in Session.cookies:
        case.cookies[COOKIE] = Session.live()
    body = case.body
    if not isinstance(body, dict):
        return
    if isinstance(body.get("login"), str) and LOGIN_NAME.fullmatch(body["login"]):
        body["login"] = LOGIN
    has_wrong_passwords = bool(case.headers) and "X-Wrong-Passwords" in case.headers
    for field in ("password", "old_password"):
        if isinstance(body.get(field), str) and len(body[field]) <= 1024 and not has_wrong_passwords:
            body[field] = PASSWORDS[0]
    new = body.get("new_password")
    if isinstance(new, str) and 8 <= len(new) <= 1024 and not has_wrong_passwords:
        body["new_password"] = PASSWORDS[1]
    # JSON Schema cannot express that two fields must be equal.
    if isinstance(body.get("new_password_again"), str) and "new_password" in body:
        body["new_password_again"] = body["new_password"]


@schemathesis.hook
def after_call(context, case, response):
    method, path = case.method.upper(), case.operation.path
    if method == "POST" and not path.startswith("/auth/verify"):
        Session.ended = True
        if path == "/auth/password" and response.status_code in (200, 303):
            PASSWORDS.reverse()
    with open(os.environ["SEALJAR_ANSWERS"], "a") as answers:
        print(json.dumps([method, path, response.status_code, *response.headers.get("content-type", [None])]), file=answers)

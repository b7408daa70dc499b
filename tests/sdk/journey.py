"""A journey with the generated client alone: everything a client application does, against a live server.

Takes the server's base URL, the folder of its mail, and the address of a member of staff. Every answer is parsed by the
client; a status that the document doesn't name raises.
"""

import datetime
import pathlib
import re
import signal
import sys
import time
import uuid

from lethe_client import AuthenticatedClient, Client
from lethe_client.api.account import account_get, account_rectify
from lethe_client.api.audit import audit_list
from lethe_client.api.consent import consent_decide, consent_history, consent_list
from lethe_client.api.privacy import (
    deletion_cancel,
    deletion_confirm,
    deletion_request,
    export_download,
    export_get,
    export_request,
    export_token,
)
from lethe_client.api.service import health_get
from lethe_client.api.sign_in import auth_code, auth_login, auth_logout, auth_refresh, auth_register
from lethe_client.api.work_days import work_day_delete_all, work_day_list, work_day_submit, work_day_submit_batch
from lethe_client.models import (
    AccountAnswer,
    AccountPatch,
    AuditLogAnswer,
    BatchAnswer,
    CodeRequest,
    ConsentAnswer,
    ConsentDecision,
    ConsentHistory,
    ConsentsAnswer,
    DeletedAnswer,
    DeletionAnswer,
    DeletionAsked,
    DeletionConfirmation,
    DeletionRequest,
    ExportAnswer,
    ExportDataRequest,
    ExportTokenAnswer,
    Health,
    LoginRequest,
    Problem,
    RefreshRequest,
    RegisterRequest,
    SignInAnswer,
    WorkDay,
    WorkDayAnswer,
    WorkDayBatch,
    WorkDaysAnswer,
)
from lethe_client.models.purpose import PURPOSE_VALUES
from lethe_client.types import UNSET

BASE_URL, MAIL, STAFF = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
EMAIL = "petra@klinik.example"
DAY = datetime.date(2025, 12, 8)
anyone = Client(base_url=BASE_URL, raise_on_unexpected_status=True)


def signed_in(token):
    return AuthenticatedClient(base_url=BASE_URL, token=token, raise_on_unexpected_status=True)


def expect(answer, status, model):
    """The parsed body of an answer of the expected status and type."""
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert isinstance(answer.parsed, model), (type(answer.parsed), answer.content)
    return answer.parsed


def refused(answer, status, kind):
    problem = expect(answer, status, Problem)
    assert problem.status == status and problem.type_ == f"/problems/{kind}" and problem.title, problem
    assert answer.headers["content-type"] == "application/problem+json"
    return problem


def mailed(email, pattern):
    """Takes the letter that matches from the mail, and returns what the pattern's group holds."""
    for _ in range(500):
        for letter in MAIL.glob("*.eml"):
            text = letter.read_text()
            found = re.search(pattern, text, re.MULTILINE)
            if f"To: {email}" in text and found:
                letter.unlink()
                return found.group(1)
        time.sleep(0.02)
    raise SystemExit(f"no letter to {email}")


def code_for(email):
    """Asks for a code and takes it from the mail."""
    answer = auth_code.sync_detailed(client=anyone, body=CodeRequest(email=email))
    assert answer.status_code == 202, answer
    return mailed(email, r"Your code: (\d{6})")


def day(date, minutes, **more):
    return WorkDay(date=date, planned_minutes=480, actual_minutes=minutes, source="geofence", **more)


def registration(code, **more):
    fields = {
        "email": EMAIL,
        "code": code,
        "hospital_id": "klinikum-am-see",
        "specialty": "surgery",
        "role_level": "specialist",
        "state_code": "BY",
    }
    return RegisterRequest(**{**fields, **more})


def register():
    wrong = registration("12345", hospital_id="Klinikum am See!")
    problem = refused(auth_register.sync_detailed(client=anyone, body=wrong), 422, "invalid-input")
    assert "code" in {fault.field for fault in problem.errors} and all(fault.message for fault in problem.errors), problem
    code = code_for(EMAIL)
    other = "000000" if code != "000000" else "000001"
    refused(auth_register.sync_detailed(client=anyone, body=registration(other)), 401, "code-refused")
    answer = auth_register.sync_detailed(client=anyone, body=registration(code))
    grant = expect(answer, 201, SignInAnswer)
    assert isinstance(grant.user_id, uuid.UUID) and grant.expires_at.tzinfo is not None
    return grant


def consents(me):
    problem = refused(work_day_submit.sync_detailed(client=me, body=day(DAY, 552)), 403, "consent-needed")
    assert problem.purpose == "work_hours" and problem.errors is UNSET, problem
    offered = expect(consent_list.sync_detailed(client=me), 200, ConsentsAnswer).consents
    assert {consent.purpose for consent in offered} == PURPOSE_VALUES
    assert all(not consent.granted and consent.decided_at is UNSET for consent in offered), offered
    for granted in (True, False, True):
        decision = ConsentDecision(granted=granted, notice_version="1")
        answer = consent_decide.sync_detailed("work_hours", client=me, body=decision)
        consent = expect(answer, 200, ConsentAnswer)
        assert consent.granted == granted and consent.decided_at.tzinfo is not None, consent
    outdated = ConsentDecision(granted=True, notice_version="0")
    refused(consent_decide.sync_detailed("work_hours", client=me, body=outdated), 409, "notice-outdated")
    refused(consent_history.sync_detailed("unknown", client=me), 404, "missing")
    decisions = expect(consent_history.sync_detailed("work_hours", client=me), 200, ConsentHistory).decisions
    assert [decision.granted for decision in decisions] == [True, False, True], decisions


def work_days(me):
    key = str(uuid.uuid4())
    first = expect(work_day_submit.sync_detailed(client=me, body=day(DAY, 552), idempotency_key=key), 201, WorkDayAnswer)
    again = expect(work_day_submit.sync_detailed(client=me, body=day(DAY, 552), idempotency_key=key), 201, WorkDayAnswer)
    assert first == again and first.date == DAY and first.actual_hours == 9.2, first
    reused = work_day_submit.sync_detailed(client=me, body=day(DAY, 553), idempotency_key=key)
    refused(reused, 422, "key-reused")
    in_hours = WorkDay(date=DAY, planned_hours=8.0, actual_hours=9.25, source="manual")
    amended = expect(work_day_submit.sync_detailed(client=me, body=in_hours), 200, WorkDayAnswer)
    assert amended.event_id == first.event_id and amended.actual_minutes == 555, amended
    days = [day(DAY + datetime.timedelta(days=number), 480 + number) for number in range(5)]
    batch = expect(work_day_submit_batch.sync_detailed(client=me, body=WorkDayBatch(events=days)), 200, BatchAnswer)
    assert (batch.created_count, batch.updated_count, batch.unchanged_count) == (4, 1, 0), batch
    wrong = [day(DAY, 480), day(DAY, 481), day(DAY.replace(year=2999), 480), day(DAY, 1441)]
    answer = work_day_submit_batch.sync_detailed(client=me, body=WorkDayBatch(events=wrong))
    problem = refused(answer, 422, "invalid-input")
    assert problem.errors and all(fault.field.startswith("events[") for fault in problem.errors), problem

    seen, cursors = [], [UNSET]
    for cursor in cursors:
        page = expect(work_day_list.sync_detailed(client=me, limit=2, cursor=cursor), 200, WorkDaysAnswer)
        seen += page.events
        if page.next_cursor is not UNSET:
            assert isinstance(page.next_cursor, str) and page.next_cursor not in cursors, page
            cursors.append(page.next_cursor)
    assert [work_day.date for work_day in seen] == [work_day.date for work_day in days], seen
    some = work_day_list.sync_detailed(client=me, from_=days[1].date, to=days[2].date)
    assert [work_day.actual_minutes for work_day in expect(some, 200, WorkDaysAnswer).events] == [481, 482]
    refused(work_day_list.sync_detailed(client=me, limit=100_000), 422, "invalid-input")
    refused(work_day_list.sync_detailed(client=me, from_=days[2].date, to=days[1].date), 422, "invalid-input")


def account(me, grant):
    answer = account_get.sync_detailed(client=me)
    seen = expect(answer, 200, AccountAnswer)
    assert (seen.user_id, seen.email, seen.hospital_id) == (grant.user_id, EMAIL, "klinikum-am-see"), seen
    assert seen.country_code == "DEU" and seen.last_submission_at.tzinfo is not None, seen
    tag = answer.headers["etag"]
    patch = AccountPatch(hospital_id="klinikum-am-wald", role_level="senior")
    changed = expect(account_rectify.sync_detailed(client=me, body=patch, if_match=tag), 200, AccountAnswer)
    assert changed.hospital_id == "klinikum-am-wald" and changed.specialty == seen.specialty, changed
    refused(account_rectify.sync_detailed(client=me, body=patch, if_match=tag), 412, "changed")


def absent_fields():
    """Staff have no work profile, so that most of their account is absent."""
    grant = auth_login.sync_detailed(client=anyone, body=LoginRequest(email=STAFF, code=code_for(STAFF)))
    staff = signed_in(expect(grant, 200, SignInAnswer).token)
    seen = expect(account_get.sync_detailed(client=staff), 200, AccountAnswer)
    absent = (seen.hospital_id, seen.specialty, seen.role_level, seen.state_code, seen.time_zone, seen.last_submission_at)
    assert seen.email == STAFF and all(field is UNSET for field in absent), seen
    refused(work_day_list.sync_detailed(client=staff), 403, "forbidden")


def audit(me):
    log = expect(audit_list.sync_detailed(client=me, limit=200), 200, AuditLogAnswer)
    actions = {entry.action for entry in log.entries}
    wanted = {"account.registered", "consent.granted", "consent.withdrawn", "record.submitted", "record.amended", "data.accessed"}
    assert wanted <= actions, actions
    assert log.next_cursor is UNSET and all(entry.timestamp.tzinfo is not None for entry in log.entries)
    granted = next(entry for entry in log.entries if entry.action == "consent.granted")
    assert granted.details["purpose"] == "work_hours" and granted.ip_address == "127.0.0.1", granted
    since = log.entries[0].timestamp - datetime.timedelta(days=1)
    page = expect(audit_list.sync_detailed(client=me, action="record", from_=since, limit=3), 200, AuditLogAnswer)
    assert len(page.entries) == 3 and page.next_cursor is not UNSET, page
    assert all(entry.action.startswith("record.") for entry in page.entries), page
    rest = audit_list.sync_detailed(client=me, action="record", cursor=page.next_cursor)
    older = expect(rest, 200, AuditLogAnswer).entries
    assert older and not {entry.id for entry in older} & {entry.id for entry in page.entries}


def export(me):
    wish = ExportDataRequest(request_type="full", format_="json")
    asked = expect(export_request.sync_detailed(client=me, body=wish), 202, ExportAnswer)
    for _ in range(500):
        written = expect(export_get.sync_detailed(asked.export_id, client=me), 200, ExportAnswer)
        if written.status == "completed":
            break
        time.sleep(0.02)
    token = expect(export_token.sync_detailed(asked.export_id, client=me), 200, ExportTokenAnswer).token
    # The token opens the file without a sign-in.
    file = export_download.sync_detailed(asked.export_id, client=anyone, token=token)
    assert file.status_code == 200 and b"klinikum-am-see" in file.content, file
    refused(export_download.sync_detailed(asked.export_id, client=anyone, token="another"), 404, "missing")


def deletion(me):
    asked = deletion_request.sync_detailed(client=me, body=DeletionRequest(deletion_type="full"))
    asked = expect(asked, 202, DeletionAsked)
    token = mailed(EMAIL, r"^([A-Za-z0-9_-]{43})\s*$")
    wrong = DeletionConfirmation(phrase="please")
    refused(deletion_confirm.sync_detailed(token, client=me, body=wrong), 422, "invalid-input")
    phrase = DeletionConfirmation(phrase="delete everything about me")
    confirmed = expect(deletion_confirm.sync_detailed(token, client=me, body=phrase), 200, DeletionAnswer)
    assert confirmed.status == "confirmed" and confirmed.grace_period_ends.tzinfo is not None, confirmed
    refused(work_day_submit.sync_detailed(client=me, body=day(DAY, 480)), 409, "deletion-waiting")
    cancelled = expect(deletion_cancel.sync_detailed(token, client=me), 200, DeletionAnswer)
    assert (cancelled.deletion_id, cancelled.status) == (asked.deletion_id, "cancelled"), cancelled


def ends(me, grant):
    assert expect(work_day_delete_all.sync_detailed(client=me), 200, DeletedAnswer).deleted_count == 5
    body = RefreshRequest(refresh_token=grant.refresh_token)
    fresh = expect(auth_refresh.sync_detailed(client=anyone, body=body), 200, SignInAnswer)
    assert fresh.user_id == grant.user_id and fresh.refresh_token != grant.refresh_token
    me = signed_in(fresh.token)
    assert expect(work_day_list.sync_detailed(client=me), 200, WorkDaysAnswer).events == []
    assert auth_logout.sync_detailed(client=me).status_code == 204
    refused(account_get.sync_detailed(client=me), 401, "signed-out")
    body = RefreshRequest(refresh_token=fresh.refresh_token)
    refused(auth_refresh.sync_detailed(client=anyone, body=body), 401, "refresh-refused")


def main():
    signal.alarm(120)
    assert expect(health_get.sync_detailed(client=anyone), 200, Health).status == "ok"
    refused(account_get.sync_detailed(client=signed_in("not-a-token")), 401, "signed-out")
    grant = register()
    me = signed_in(grant.token)
    consents(me)
    work_days(me)
    account(me, grant)
    absent_fields()
    audit(me)
    export(me)
    deletion(me)
    ends(me, grant)
    print("the journey ended well")


main()

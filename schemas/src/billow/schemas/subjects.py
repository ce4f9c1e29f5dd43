"""Subjects, built in one place so that no one formats them by hand."""

from billow.schemas.tokens import check_token


def document(tenant: str, event: str, document_id: str) -> str:
    """`documents.<tenant>.<event>.<document_id>`. Raises ValueError for a bad token."""
    check_token(tenant, "tenant")
    check_token(event, "event")
    return f"documents.{tenant}.{event}.{check_token(document_id, 'document_id')}"


def run(tenant: str, run_id: str, event: str, document_id: str) -> str:
    """`runs.<tenant>.<run_id>.<event>.<document_id>`. Raises ValueError for a bad token."""
    check_token(tenant, "tenant")
    check_token(run_id, "run_id")
    check_token(event, "event")
    return f"runs.{tenant}.{run_id}.{event}.{check_token(document_id, 'document_id')}"


def stated(tenant: str, run_id: str | None, event: str, document_id: str) -> str:
    """Where an event about a document lies: under its run, else under `documents`.

    Raises ValueError for a bad token.
    """
    if run_id is None:
        return document(tenant, event, document_id)
    return run(tenant, run_id, event, document_id)


def inference(task: str, model: str, lane: str, tenant: str) -> str:
    """`inference.<task>.<model>.<lane>.<tenant>`. Raises ValueError for a bad token."""
    check_token(task, "task")
    check_token(model, "model")
    check_token(lane, "lane")
    return f"inference.{task}.{model}.{lane}.{check_token(tenant, 'tenant')}"


def result(tenant: str, task: str, request_id: str) -> str:
    """`results.<tenant>.<task>.<request_id>`. Raises ValueError for a bad token."""
    check_token(tenant, "tenant")
    check_token(task, "task")
    return f"results.{tenant}.{task}.{check_token(request_id, 'request_id')}"


def deadletter(tenant: str, service: str, event: str) -> str:
    """`deadletters.<tenant>.<service>.<event>`. Raises ValueError for a bad token."""
    check_token(tenant, "tenant")
    check_token(service, "service")
    return f"deadletters.{tenant}.{service}.{check_token(event, 'event')}"


def cancelled(tenant: str, document_id: str) -> str:
    """`cancelled.<tenant>.<document_id>`, in no stream: whoever works on the document hears it at once.

    Raises ValueError for a bad token.
    """
    check_token(tenant, "tenant")
    return f"cancelled.{tenant}.{check_token(document_id, 'document_id')}"


def shadow(tenant: str, task: str, model: str) -> str:
    """`shadows.<tenant>.<task>.<model>`, the model being the shadow. Raises ValueError for a bad token."""
    check_token(tenant, "tenant")
    check_token(task, "task")
    return f"shadows.{tenant}.{task}.{check_token(model, 'model')}"


def images_bucket(tenant: str) -> str:
    """Object store bucket of a tenant: `IMAGES_<tenant>`. Raises ValueError for a bad token."""
    return f"IMAGES_{check_token(tenant, 'tenant')}"


def original_key(document_id: str, revision: int = 1) -> str:
    """Object name of what was submitted; each revision has its own, so that none replaces what another still needs.

    Raises ValueError for a bad token.
    """
    name = "original" if revision == 1 else f"original-{revision}"
    return f"{check_token(document_id, 'document_id')}/{name}"

"""When streams and tables are brought up to date, and with whose rights."""

from typing import Any

from helm.tests.chart import BUILTIN, Object, example, merged, named, of_kind, render

_OUTSIDE: dict[str, Any] = {
    "nats": {
        "url": "nats://a:4222",
        "auth": {"passwords": {u: f"{u}-pw" for u in ("operator", "ocr", "layout", "receipt")}},
    },
    "database": {"url": "postgresql+asyncpg://u:p@db/billow"},
    "workers": [],
}


def _hooks(thing: Object) -> str:
    return thing["metadata"].get("annotations", {}).get("helm.sh/hook", "")


def test_beside_outer_servers_jobs_run_before_the_pods_of_a_version() -> None:
    jobs = {each["metadata"]["name"]: each for each in of_kind(example("hybrid"), "Job")}
    assert set(jobs) == {"billow-topology", "billow-migrations"}
    assert {_hooks(each) for each in jobs.values()} == {"pre-install,pre-upgrade"}


def test_a_hook_needs_nothing_that_is_installed_after_it() -> None:
    objects = render(_OUTSIDE)
    before = {each["metadata"]["name"] for each in objects if _hooks(each) and each["kind"] == "Secret"}
    for job in of_kind(objects, "Job"):
        pod = job["spec"]["template"]["spec"]
        assert "serviceAccountName" not in pod and "priorityClassName" not in pod
        refs = [v["valueFrom"]["secretKeyRef"]["name"] for v in pod["containers"][0]["env"] if "valueFrom" in v]
        assert refs and set(refs) <= before
        assert "envFrom" not in pod["containers"][0]


def test_what_a_hook_was_lent_is_taken_away_again() -> None:
    lent = [each for each in of_kind(render(_OUTSIDE), "Secret") if _hooks(each)]
    assert len(lent) == 2
    for each in lent:
        policy = each["metadata"]["annotations"]["helm.sh/hook-delete-policy"].split(",")
        assert {"hook-succeeded", "hook-failed", "before-hook-creation"} == set(policy)
        assert int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0


def test_beside_built_in_servers_they_belong_to_each_revision() -> None:
    jobs = of_kind(render(BUILTIN), "Job")
    assert {each["metadata"]["name"] for each in jobs} == {"billow-topology-1", "billow-migrations-1"}
    assert not any(_hooks(each) for each in jobs)


def test_streams_are_made_by_the_operator_and_tables_without_nats() -> None:
    topology = named(example("hybrid"), "Job", "billow-topology")["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each for each in topology["env"]}
    assert topology["command"] == ["billow", "topology", "apply", "--yes"]
    assert env["BILLOW_NATS_USER"]["value"] == "operator"
    assert env["BILLOW_NATS_PASSWORD"]["valueFrom"]["secretKeyRef"]["key"] == "BILLOW_PASSWORD_OPERATOR"
    assert env["BILLOW_REPLICAS"]["value"] == "3"
    migrations = named(example("hybrid"), "Job", "billow-migrations")["spec"]["template"]["spec"]["containers"][0]
    assert {each["name"] for each in migrations["env"]} == {"BILLOW_DATABASE_URL", "HOME"}
    assert migrations["image"] == "billow/receipt:0.1.0"


def test_without_the_service_that_owns_the_tables_there_is_no_migration() -> None:
    values = merged(BUILTIN, {"services": {"receipt": {"enabled": False}}})
    assert [each["metadata"]["name"] for each in of_kind(render(values), "Job")] == ["billow-topology-1"]

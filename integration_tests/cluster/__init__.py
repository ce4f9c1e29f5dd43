"""Billow as it runs across sites: a hub of three nats-servers and PostgreSQL, and two workstation sites behind leaves.

```
network hub:     hub-0 ── hub-1 ── hub-2     postgres        services, and a layout worker
                     ▲ TLS       ▲ WebSocket with TLS
network site-a:  leaf-a     site-b: leaf-b                   workers of the two OCR models at each site
```

nats-servers and PostgreSQL are containers, run from `deploy/nats/*.conf`; services and workers are processes of this
machine that are started again when they die. `cluster` and `open_cluster` in `conftest.py` are the fixtures.
"""

from integration_tests.cluster.cluster import Cluster
from integration_tests.cluster.containers import NODES, POSTGRES, SITES, Containers, leaf_of
from integration_tests.cluster.plan import Plan

__all__ = ["NODES", "POSTGRES", "SITES", "Cluster", "Containers", "Plan", "leaf_of"]

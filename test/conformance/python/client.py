# SPDX-License-Identifier: Apache-2.0
"""Does with the SDK for Python what ../go/client does with the SDK for Go."""

import importlib.metadata
import json
import os
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcss.v1 import CssClient, ListClustersDetailsRequest, ShowVpcepConnectionRequest


def client(ask):
    """Sets the endpoint and the project, so that the SDK does not look them up."""
    keys = BasicCredentials(os.environ["CLOUD_SDK_AK"], os.environ["CLOUD_SDK_SK"], ask["project"])
    if token := os.environ.get("CLOUD_SDK_SECURITY_TOKEN"):
        keys = keys.with_security_token(token)
    config = HttpConfig.get_default_config()
    config.timeout = (10, 30)
    return CssClient.new_builder().with_http_config(config).with_credentials(keys).with_endpoint(ask["endpoint"]).build()


def each(items, form):
    """Returns None for a missing list, but not for an empty one."""
    return None if items is None else [form(item) for item in items]


def connections(ask):
    """Pages by offset, which counts from 0."""
    page = client(ask).show_vpcep_connection(
        ShowVpcepConnectionRequest(cluster_id=ask["cluster"], offset=ask.get("skip"), limit=ask.get("limit")))
    return {
        "connections": each(page.connections, lambda c: {
            "id": c.id, "status": c.status, "maxSession": c.max_session, "specificationName": c.specification_name,
            "created_at": c.created_at, "update_at": c.update_at, "domain_id": c.domain_id, "vpcepIp": c.vpcep_ip,
            "vpcepIpv6Address": c.vpcep_ipv6_address, "vpcepDnsName": c.vpcep_dns_name,
        }),
        "permissions": each(page.permissions, lambda p: {
            "id": p.id, "permission": p.permission, "permission_type": p.permission_type, "created_at": p.created_at,
        }),
        "total_count": page.total_count,
        "vpcServiceName": page.vpc_service_name,
        "vpcepUpdateSwitch": page.vpcep_update_switch,
    }


def clusters(ask):
    """Pages by offset, which counts from 1 here."""
    skip = ask.get("skip")
    page = client(ask).list_clusters_details(
        ListClustersDetailsRequest(offset=None if skip is None else skip + 1, limit=ask.get("limit")))
    return {
        "clusters": each(page.clusters, lambda c: {
            "id": c.id, "name": c.name, "status": c.status, "created": c.created, "endpoint": c.endpoint,
            "datastore": c.datastore and {"type": c.datastore.type, "version": c.datastore.version},
            "enterpriseProjectId": c.enterprise_project_id, "vpcId": c.vpc_id,
            "tags": each(c.tags, lambda t: {"key": t.key, "value": t.value}),
        }),
        "totalSize": page.total_size,
    }


def version(_):
    return {"version": importlib.metadata.version("huaweicloudsdkcss")}


def answer(ask):
    """Omits error messages, because a gateway echoes the signed request."""
    try:
        return {"version": version, "connections": connections, "clusters": clusters}[ask["call"]](ask)
    except ServiceResponseException as e:
        return {"error": {"status": e.status_code, "code": None if e.error_code is None else str(e.error_code)}}
    except Exception as e:  # any failure of the SDK is a result
        print(type(e).__name__, file=sys.stderr)
        return {"error": {"status": None, "code": None}}


def main():
    # A lone surrogate cannot be encoded as UTF-8.
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    for line in sys.stdin.buffer:
        print(json.dumps(answer(json.loads(line)), ensure_ascii=False, separators=(",", ":"), sort_keys=True), flush=True)


if __name__ == "__main__":
    main()

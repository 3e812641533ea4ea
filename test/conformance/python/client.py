# SPDX-License-Identifier: Apache-2.0
"""Calls the API with the vendor's SDK for Python. See ../go/client."""

import importlib.metadata
import json
import os
import sys

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcss.v1 import CssClient, ListClustersDetailsRequest, ShowVpcepConnectionRequest


def client(request):
    """Returns a client with endpoint and project, so that the SDK does not look them up."""
    keys = BasicCredentials(os.environ["CLOUD_SDK_AK"], os.environ["CLOUD_SDK_SK"], request["project"])
    if token := os.environ.get("CLOUD_SDK_SECURITY_TOKEN"):
        keys = keys.with_security_token(token)
    config = HttpConfig.get_default_config()
    config.timeout = (10, 30)
    builder = CssClient.new_builder().with_http_config(config).with_credentials(keys)
    return builder.with_endpoint(request["endpoint"]).build()


def convert(items, to_object):
    """Returns None for a missing list, but not for an empty one."""
    return None if items is None else [to_object(item) for item in items]


def connections(request):
    """Sends an offset that starts at 0."""
    page = client(request).show_vpcep_connection(ShowVpcepConnectionRequest(
        cluster_id=request["cluster"], offset=request.get("skip"), limit=request.get("limit")))
    return {
        "connections": convert(page.connections, lambda c: {
            "id": c.id, "status": c.status, "maxSession": c.max_session, "specificationName": c.specification_name,
            "created_at": c.created_at, "update_at": c.update_at, "domain_id": c.domain_id, "vpcepIp": c.vpcep_ip,
            "vpcepIpv6Address": c.vpcep_ipv6_address, "vpcepDnsName": c.vpcep_dns_name,
        }),
        "permissions": convert(page.permissions, lambda p: {
            "id": p.id, "permission": p.permission, "permission_type": p.permission_type, "created_at": p.created_at,
        }),
        "total_count": page.total_count,
        "vpcServiceName": page.vpc_service_name,
        "vpcepUpdateSwitch": page.vpcep_update_switch,
    }


def clusters(request):
    """Sends an offset that starts at 1."""
    skip = request.get("skip")
    page = client(request).list_clusters_details(ListClustersDetailsRequest(
        offset=None if skip is None else skip + 1, limit=request.get("limit")))
    return {
        "clusters": convert(page.clusters, lambda c: {
            "id": c.id, "name": c.name, "status": c.status, "created": c.created, "endpoint": c.endpoint,
            "datastore": c.datastore and {"type": c.datastore.type, "version": c.datastore.version},
            "enterpriseProjectId": c.enterprise_project_id, "vpcId": c.vpc_id,
            "tags": convert(c.tags, lambda t: {"key": t.key, "value": t.value}),
        }),
        "totalSize": page.total_size,
    }


def version(_):
    return {"version": importlib.metadata.version("huaweicloudsdkcss")}


def call(request):
    """Omits error messages, in which a gateway may repeat the signed request."""
    try:
        return {"version": version, "connections": connections, "clusters": clusters}[request["call"]](request)
    except ServiceResponseException as e:
        return {"error": {"status": e.status_code, "code": None if e.error_code is None else str(e.error_code)}}
    except Exception as e:  # any failure of the SDK is a result
        print(type(e).__name__, file=sys.stderr)
        return {"error": {"status": None, "code": None}}


def main():
    # A lone surrogate cannot be encoded as UTF-8.
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    for line in sys.stdin.buffer:
        print(json.dumps(call(json.loads(line)), ensure_ascii=False, separators=(",", ":"), sort_keys=True), flush=True)


if __name__ == "__main__":
    main()

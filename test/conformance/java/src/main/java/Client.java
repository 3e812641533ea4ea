// SPDX-License-Identifier: Apache-2.0

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.huaweicloud.sdk.core.auth.BasicCredentials;
import com.huaweicloud.sdk.core.exception.ServiceResponseException;
import com.huaweicloud.sdk.core.http.HttpConfig;
import com.huaweicloud.sdk.css.v1.CssClient;
import com.huaweicloud.sdk.css.v1.model.ClusterList;
import com.huaweicloud.sdk.css.v1.model.ClusterListDatastore;
import com.huaweicloud.sdk.css.v1.model.Connections;
import com.huaweicloud.sdk.css.v1.model.ListClustersDetailsRequest;
import com.huaweicloud.sdk.css.v1.model.ListClustersDetailsResponse;
import com.huaweicloud.sdk.css.v1.model.ShowVpcepConnectionRequest;
import com.huaweicloud.sdk.css.v1.model.ShowVpcepConnectionResponse;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.function.Function;

/** Calls the API with the vendor's SDK for Java. See test/conformance/go/client. */
public final class Client {
  private Client() {}

  public static void main(String[] args) throws IOException {
    ObjectMapper json = new ObjectMapper();
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      out.println(json.writeValueAsString(call(json.readTree(line))));
    }
    System.exit(0); // otherwise threads of the SDK keep the process running
  }

  /** Omits error messages, in which a gateway may repeat the signed request. */
  private static Map<String, Object> call(JsonNode request) throws IOException {
    try {
      return switch (request.get("call").asText()) {
        case "version" -> object("version", version());
        case "clusters" -> clusters(request);
        default -> connections(request);
      };
    } catch (ServiceResponseException e) {
      return object("error", object("status", e.getHttpStatusCode(), "code", e.getErrorCode()));
    } catch (RuntimeException e) { // any failure of the SDK is a result
      System.err.println(e.getClass().getName());
      return object("error", object("status", null, "code", null));
    }
  }

  private static String version() throws IOException {
    String path = "/META-INF/maven/com.huaweicloud.sdk/huaweicloud-sdk-css/pom.properties";
    try (InputStream in = CssClient.class.getResourceAsStream(path)) {
      Properties properties = new Properties();
      properties.load(in);
      return properties.getProperty("version");
    }
  }

  /** Returns a client with endpoint and project, so that the SDK does not look them up. */
  private static CssClient client(JsonNode request) {
    BasicCredentials keys = new BasicCredentials()
        .withAk(System.getenv("CLOUD_SDK_AK"))
        .withSk(System.getenv("CLOUD_SDK_SK"))
        .withProjectId(request.get("project").asText());
    String token = System.getenv("CLOUD_SDK_SECURITY_TOKEN");
    if (token != null && !token.isEmpty()) {
      keys = keys.withSecurityToken(token);
    }
    HttpConfig config = HttpConfig.getDefaultHttpConfig().withConnectionTimeout(10).withReadTimeout(30);
    return CssClient.newBuilder()
        .withHttpConfig(config)
        .withCredential(keys)
        .withEndpoint(request.get("endpoint").asText())
        .build();
  }

  /** Sends a start, which begins at 1, because this SDK does not support offset. */
  private static Map<String, Object> connections(JsonNode request) {
    ShowVpcepConnectionResponse page = client(request).showVpcepConnection(new ShowVpcepConnectionRequest()
        .withClusterId(request.get("cluster").asText()).withStart(start(request)).withLimit(number(request, "limit")));
    return object(
        "connections", convert(page.getConnections(), Client::connection),
        "permissions", convert(page.getPermissions(), p -> object(
            "id", p.getId(), "permission", p.getPermission(), "permission_type", p.getPermissionType(),
            "created_at", p.getCreatedAt())),
        "total_count", page.getTotalCount(),
        "vpcServiceName", page.getVpcServiceName(),
        "vpcepUpdateSwitch", page.getVpcepUpdateSwitch());
  }

  private static Map<String, Object> connection(Connections c) {
    return object(
        "id", c.getId(), "status", c.getStatus(), "maxSession", c.getMaxSession(),
        "specificationName", c.getSpecificationName(), "created_at", c.getCreatedAt(), "update_at", c.getUpdateAt(),
        "domain_id", c.getDomainId(), "vpcepIp", c.getVpcepIp(), "vpcepIpv6Address", c.getVpcepIpv6Address(),
        "vpcepDnsName", c.getVpcepDnsName());
  }

  /** Sends a start, as connections does. */
  private static Map<String, Object> clusters(JsonNode request) {
    ListClustersDetailsResponse page = client(request).listClustersDetails(
        new ListClustersDetailsRequest().withStart(start(request)).withLimit(number(request, "limit")));
    return object("clusters", convert(page.getClusters(), Client::cluster), "totalSize", page.getTotalSize());
  }

  private static Map<String, Object> cluster(ClusterList c) {
    ClusterListDatastore d = c.getDatastore();
    return object(
        "id", c.getId(), "name", c.getName(), "status", c.getStatus(), "created", c.getCreated(),
        "endpoint", c.getEndpoint(), "enterpriseProjectId", c.getEnterpriseProjectId(), "vpcId", c.getVpcId(),
        "datastore", d == null ? null : object("type", d.getType(), "version", d.getVersion()),
        "tags", convert(c.getTags(), t -> object("key", t.getKey(), "value", t.getValue())));
  }

  private static Integer number(JsonNode request, String name) {
    return request.hasNonNull(name) ? request.get(name).asInt() : null;
  }

  private static Integer start(JsonNode request) {
    Integer skip = number(request, "skip");
    return skip == null ? null : Integer.valueOf(skip + 1);
  }

  /** Returns null for a missing list, but not for an empty one. */
  private static <T> List<Map<String, Object>> convert(List<T> items, Function<T, Map<String, Object>> toObject) {
    return items == null ? null : items.stream().map(toObject).toList();
  }

  private static Map<String, Object> object(Object... pairs) {
    Map<String, Object> sorted = new TreeMap<>();
    for (int i = 0; i < pairs.length; i += 2) {
      sorted.put((String) pairs[i], pairs[i + 1]);
    }
    return sorted;
  }
}

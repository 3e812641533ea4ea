{{/* unique fails if something is given twice; the argument is a list of the key of the values, a noun, and the names. */}}
{{- define "css-vpcep-exporter.unique" -}}
{{- $key := index . 0 -}}
{{- $noun := index . 1 -}}
{{- $seen := dict -}}
{{- range $name := index . 2 -}}
{{- if hasKey $seen $name -}}
{{- fail (printf "%s: the %s %q is given twice; remove one" $key $noun $name) -}}
{{- end -}}
{{- $_ := set $seen $name true -}}
{{- end -}}
{{- end -}}

{{/* The flags that the chart sets, and those that keep the exporter from running. */}}
{{- define "css-vpcep-exporter.ownFlags" -}}
config.file config.auto-reload-interval config.check config.check-syntax-only once diagnose demo version help
{{- " web.listen-address web.config.file web.systemd-socket web.telemetry-path log.level log.format collector.connections" -}}
{{- end -}}

{{/* validateEnv rejects variables that are given twice, secrets in values, and flags that the chart sets. */}}
{{- define "css-vpcep-exporter.validateEnv" -}}
{{- $names := list -}}
{{- range concat (.Values.credentials.env | default list) (.Values.extraEnv | default list) -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- include "css-vpcep-exporter.unique" (list "credentials.env and extraEnv" "name" $names) -}}
{{- $own := list -}}
{{- range include "css-vpcep-exporter.ownFlags" . | splitList " " -}}
{{- $own = append $own (printf "CSS_VPCEP_EXPORTER_%s" (regexReplaceAll "[.-]" . "_" | upper)) -}}
{{- end -}}
{{- range $names -}}
{{- if has . $own -}}
{{- fail (printf "credentials.env and extraEnv: %s sets a flag that the chart sets, or that keeps the exporter from running; remove it, and use the chart's value if there is one" .) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if and (hasKey . "value") (hasKey . "valueFrom") -}}
{{- fail (printf "extraEnv: %s has both value and valueFrom; remove one" .name) -}}
{{- end -}}
{{- if and (hasKey . "value") (regexMatch "(^|_)(AK|SK|SECURITY_TOKEN|PASSWORD|SECRET)$" .name) -}}
{{- fail (printf "extraEnv: %s is a secret, which must not be in values; use credentials.env, or valueFrom with a secretKeyRef" .name) -}}
{{- end -}}
{{- if and (contains "@" (.value | default "")) (regexMatch "^(HTTPS?|ALL)_PROXY$" (upper .name)) -}}
{{- fail (printf "extraEnv: %s contains a password, which must not be in values; use credentials.env, or valueFrom with a secretKeyRef" .name) -}}
{{- end -}}
{{- end -}}
{{- range $i, $source := .Values.envFrom -}}
{{- if eq (hasKey $source "secretRef") (hasKey $source "configMapRef") -}}
{{- fail (printf "envFrom: entry %d must have either a secretRef or a configMapRef; use one entry for each" $i) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* validateLists rejects what is given twice, which Kubernetes or server-side apply would reject. */}}
{{- define "css-vpcep-exporter.validateLists" -}}
{{- $flags := list -}}
{{- range .Values.extraArgs -}}
{{- $flags = append $flags (regexFind "^[^=]+" . | trimPrefix "--" | trimPrefix "no-") -}}
{{- end -}}
{{- include "css-vpcep-exporter.unique" (list "extraArgs" "flag" $flags) -}}
{{- $own := include "css-vpcep-exporter.ownFlags" . | splitList " " -}}
{{- range $flags -}}
{{- if has . $own -}}
{{- fail (printf "extraArgs: --%s is a flag that the chart sets, or that keeps the exporter from running; remove it, and use the chart's value if there is one" .) -}}
{{- end -}}
{{- end -}}
{{- $addresses := list -}}
{{- range .Values.hostAliases -}}
{{- $addresses = append $addresses .ip -}}
{{- end -}}
{{- include "css-vpcep-exporter.unique" (list "hostAliases" "address" $addresses) -}}
{{- $volumes := list -}}
{{- $paths := list -}}
{{- if include "css-vpcep-exporter.hasConfig" . -}}
{{- $volumes = append $volumes "config" -}}
{{- $paths = append $paths "/etc/css_vpcep_exporter/config" -}}
{{- end -}}
{{- if .Values.web.existingSecret -}}
{{- $volumes = append $volumes "web" -}}
{{- $paths = append $paths "/etc/css_vpcep_exporter/web" -}}
{{- end -}}
{{- range $i, $secret := .Values.credentials.files -}}
{{- $volumes = append $volumes (printf "secret-%d" $i) -}}
{{- $paths = append $paths (printf "/etc/css_vpcep_exporter/secrets/%s" $secret.secretName) -}}
{{- end -}}
{{- range .Values.extraVolumes -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- range .Values.extraVolumeMounts -}}
{{- $paths = append $paths (trimSuffix "/" .mountPath) -}}
{{- end -}}
{{- include "css-vpcep-exporter.unique" (list "extraVolumes" "name" $volumes) -}}
{{- include "css-vpcep-exporter.unique" (list "extraVolumeMounts" "path" $paths) -}}
{{- end -}}

{{/* validate says what the schema cannot. */}}
{{- define "css-vpcep-exporter.validate" -}}
{{- if not .Values.image.repository -}}
{{- fail (printf "image.repository: set it to the address of the exporter's image in your registry, because there is no public one. Build it with `make image`, tag css_vpcep_exporter:latest as registry.example.com/monitoring/css_vpcep_exporter:%s with the name of your registry, push that, and set image.repository to registry.example.com/monitoring/css_vpcep_exporter" (.Values.image.tag | default .Chart.AppVersion)) -}}
{{- end -}}
{{- if regexMatch "(@|:[^/]*$)" .Values.image.repository -}}
{{- fail (printf "image.repository: %q has a tag or a digest; remove it, and set image.tag or image.digest" .Values.image.repository) -}}
{{- end -}}
{{- $sources := list -}}
{{- if .Values.config }}{{ $sources = append $sources "config" }}{{ end -}}
{{- if .Values.existingConfigMap.name }}{{ $sources = append $sources "existingConfigMap.name" }}{{ end -}}
{{- if .Values.existingConfigSecret.name }}{{ $sources = append $sources "existingConfigSecret.name" }}{{ end -}}
{{- if .Values.demo }}{{ $sources = append $sources "demo" }}{{ end -}}
{{- if not $sources -}}
{{- fail "config: there is no configuration; set config.projects, existingConfigMap.name, existingConfigSecret.name, or demo=true for a simulated cloud" -}}
{{- end -}}
{{- if rest $sources -}}
{{- fail (printf "config: set only one of config, existingConfigMap.name, existingConfigSecret.name and demo; now set: %s" (join ", " $sources)) -}}
{{- end -}}
{{- if and (eq .Values.mode "metrics") (gt (int .Values.replicaCount) 1) -}}
{{- fail (printf "replicaCount: with mode metrics, each of %d exporters would read every cluster; set it to 1, or mode to probe" (int .Values.replicaCount)) -}}
{{- end -}}
{{- $rolling := (.Values.updateStrategy).rollingUpdate | default dict -}}
{{- if and (regexMatch "^0%?$" (toString $rolling.maxSurge)) (regexMatch "^0%?$" (toString $rolling.maxUnavailable)) -}}
{{- fail "updateStrategy.rollingUpdate: maxSurge and maxUnavailable are both 0, with which no pod could be replaced; set one of them to 1" -}}
{{- end -}}
{{- if has .Values.releaseLabel (list "true" "false") -}}
{{- fail (printf "releaseLabel: %q is a text; for the name of this release write true without quotes, and with --set instead of --set-string" .Values.releaseLabel) -}}
{{- end -}}
{{- if hasKey (.Values.readinessProbe | default dict) "terminationGracePeriodSeconds" -}}
{{- fail "readinessProbe.terminationGracePeriodSeconds: remove it, because a readiness probe never ends the pod" -}}
{{- end -}}
{{- if and (eq (toString .Values.dnsPolicy) "None") (not (.Values.dnsConfig).nameservers) -}}
{{- fail "dnsPolicy: None needs at least one address in dnsConfig.nameservers" -}}
{{- end -}}
{{- if and (.Values.ingress).enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: name at least one host, as in hosts: [{host: css-vpcep.example.com}]" -}}
{{- end -}}
{{- range (.Values.ingress).hosts -}}
{{- if regexMatch "^[0-9.]+$" .host -}}
{{- fail (printf "ingress.hosts: %q is an address; Kubernetes accepts only DNS names" .host) -}}
{{- end -}}
{{- end -}}
{{- if and (.Values.test).image .Values.web.existingSecret (not .Values.test.command) -}}
{{- fail "test.command: with web.existingSecret, the exporter may use TLS or require a password, which the default command of helm test does not know; set test.command, or remove test.image" -}}
{{- end -}}
{{- if and (eq .Values.mode "metrics") .Values.scrapeConfig.enabled -}}
{{- fail "scrapeConfig.enabled: with mode metrics serviceMonitor reads the clusters; set mode to probe, or scrapeConfig.enabled to false" -}}
{{- end -}}
{{- if and (eq .Values.web.scheme "https") (not .Values.web.existingSecret) -}}
{{- fail "web.scheme: https needs web.existingSecret" -}}
{{- end -}}
{{- $stopping := 8 -}}
{{- if eq .Values.mode "probe" -}}
{{- $stopping = add $stopping (int .Values.preStopSleepSeconds) -}}
{{- end -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (int $stopping) -}}
{{- fail (printf "terminationGracePeriodSeconds: must be more than %d: running scrapes have 8 seconds to finish, after preStopSleepSeconds in mode probe" (int $stopping)) -}}
{{- end -}}
{{- $name := include "css-vpcep-exporter.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "fullnameOverride: %q cannot be the name of a Service, which starts with a letter and has no dots; set fullnameOverride" $name) -}}
{{- end -}}
{{- include "css-vpcep-exporter.validateEnv" . -}}
{{- include "css-vpcep-exporter.validateLists" . -}}
{{- end -}}

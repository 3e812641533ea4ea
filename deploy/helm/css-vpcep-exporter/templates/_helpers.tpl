{{- define "css-vpcep-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for "-headless" and a dashboard's name to follow. */}}
{{- define "css-vpcep-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "css-vpcep-exporter.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "css-vpcep-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "css-vpcep-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "css-vpcep-exporter.labels" -}}
{{ include "css-vpcep-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "css-vpcep-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "css-vpcep-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "css-vpcep-exporter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "css-vpcep-exporter.configMapName" -}}
{{- default (include "css-vpcep-exporter.fullname" .) .Values.existingConfigMap.name -}}
{{- end -}}

{{/* hasConfig is "true" where a ConfigMap is mounted. */}}
{{- define "css-vpcep-exporter.hasConfig" -}}
{{- if not .Values.demo -}}true{{- end -}}
{{- end -}}

{{/* One probe; the argument is a list of the root, the path and the timing. */}}
{{- define "css-vpcep-exporter.probe" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.web.probes "tcp" -}}
tcpSocket:
  port: http
{{- else -}}
httpGet:
  path: {{ index . 1 }}
  port: http
  scheme: {{ upper $root.Values.web.scheme }}
{{- end }}
{{ toYaml (index . 2) }}
{{- end -}}

{{/* validate says what the schema cannot. */}}
{{- define "css-vpcep-exporter.validate" -}}
{{- $sources := 0 -}}
{{- if .Values.demo }}{{ $sources = add1 $sources }}{{ end -}}
{{- if .Values.config }}{{ $sources = add1 $sources }}{{ end -}}
{{- if .Values.existingConfigMap.name }}{{ $sources = add1 $sources }}{{ end -}}
{{- if eq (int $sources) 0 -}}
{{- fail "config: set config.projects (or existingConfigMap.name, or demo=true)" -}}
{{- end -}}
{{- if gt (int $sources) 1 -}}
{{- fail "config: set only one of config, existingConfigMap.name and demo" -}}
{{- end -}}
{{- if and (eq .Values.mode "metrics") .Values.scrapeConfig.enabled -}}
{{- fail "scrapeConfig.enabled: with mode metrics serviceMonitor reads the clusters; set mode to probe, or scrapeConfig.enabled to false" -}}
{{- end -}}
{{- if and (eq .Values.web.scheme "https") (not .Values.web.existingSecret) -}}
{{- fail "web.scheme: https needs web.existingSecret" -}}
{{- end -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (int .Values.preStopSleepSeconds) -}}
{{- fail "terminationGracePeriodSeconds: must be more than preStopSleepSeconds" -}}
{{- end -}}
{{- end -}}

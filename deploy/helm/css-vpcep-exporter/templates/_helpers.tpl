{{- define "css-vpcep-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" -}}
{{- end -}}

{{/* Short enough for "-headless" and a dashboard's name to follow. */}}
{{- define "css-vpcep-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimAll "-" -}}
{{- else -}}
{{- $name := include "css-vpcep-exporter.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimAll "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimAll "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "css-vpcep-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* merged writes a list of maps as one map, in which later ones win. Sprig's mergeOverwrite ignores empty values. */}}
{{- define "css-vpcep-exporter.merged" -}}
{{- $result := dict -}}
{{- range . -}}
{{- range $key, $value := . -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $result -}}
{{- end -}}

{{/* labelValue makes a text valid as the value of a label. */}}
{{- define "css-vpcep-exporter.labelValue" -}}
{{- . | replace "+" "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{- define "css-vpcep-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "css-vpcep-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The labels that no others replace where something selects by them; the arguments are the root and the component. */}}
{{- define "css-vpcep-exporter.componentLabels" -}}
{{ include "css-vpcep-exporter.selectorLabels" (first .) }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{/* The labels of the pod of helm test, which no Service must select. */}}
{{- define "css-vpcep-exporter.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "css-vpcep-exporter.name" . | trunc 58) | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end -}}

{{/* The labels of an object. The argument is a list of the root and the object's own labels, in which later ones win. */}}
{{- define "css-vpcep-exporter.labels" -}}
{{- $root := first . -}}
{{- $chart := dict
  "app.kubernetes.io/version" (include "css-vpcep-exporter.labelValue" ($root.Values.image.tag | default $root.Chart.AppVersion))
  "app.kubernetes.io/managed-by" $root.Release.Service
  "helm.sh/chart" (include "css-vpcep-exporter.labelValue" (printf "%s-%s" $root.Chart.Name $root.Chart.Version)) -}}
{{- $selector := include "css-vpcep-exporter.selectorLabels" $root | fromYaml -}}
{{- include "css-vpcep-exporter.merged" (concat (list $chart $root.Values.commonLabels $selector) (rest .)) -}}
{{- end -}}

{{/* A security context; the arguments are the root and the context. OpenShift chooses the user and the groups. */}}
{{- define "css-vpcep-exporter.securityContext" -}}
{{- $context := last . | default dict -}}
{{- if (first .).Values.openshift -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- with $context -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* The milliseconds of a duration of Prometheus. */}}
{{- define "css-vpcep-exporter.milliseconds" -}}
{{- $units := dict "y" 31536000000 "w" 604800000 "d" 86400000 "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9]+[a-z]+" (toString .) -1 -}}
{{- $sum = addf $sum (mulf (regexFind "[0-9]+" .) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/*
The timeout of a scrape, which is at most the interval: the Operator ignores monitors with a longer one. The argument is a
list of the key of the values, these values, and the default timeout.
*/}}
{{- define "css-vpcep-exporter.scrapeTimeout" -}}
{{- $key := index . 0 -}}
{{- $scrape := index . 1 -}}
{{- $default := index . 2 -}}
{{- $interval := include "css-vpcep-exporter.milliseconds" $scrape.interval | float64 -}}
{{- if le $interval 0.0 -}}
{{- fail (printf "%s.interval: must be more than 0s" $key) -}}
{{- end -}}
{{- if $scrape.scrapeTimeout -}}
{{- $timeout := include "css-vpcep-exporter.milliseconds" $scrape.scrapeTimeout | float64 -}}
{{- if le $timeout 0.0 -}}
{{- fail (printf "%s.scrapeTimeout: must be more than 0s" $key) -}}
{{- end -}}
{{- if gt $timeout $interval -}}
{{- fail (printf "%s.scrapeTimeout: %s is more than the interval of %s" $key $scrape.scrapeTimeout $scrape.interval) -}}
{{- end -}}
{{- $scrape.scrapeTimeout -}}
{{- else if gt (include "css-vpcep-exporter.milliseconds" $default | float64) $interval -}}
{{- $scrape.interval -}}
{{- else -}}
{{- $default -}}
{{- end -}}
{{- end -}}

{{- define "css-vpcep-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "css-vpcep-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image without tag; the argument is a list of the root and the image. A registry is a host with a dot or a port. */}}
{{- define "css-vpcep-exporter.inRegistry" -}}
{{- $image := last . -}}
{{- with ((first .).Values.global).imageRegistry -}}
{{- $image = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $image "") -}}
{{- end -}}
{{- $image -}}
{{- end -}}

{{- define "css-vpcep-exporter.image" -}}
{{- $repository := include "css-vpcep-exporter.inRegistry" (list . .Values.image.repository) -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The file's name, which is the key in the mounted ConfigMap or Secret. */}}
{{- define "css-vpcep-exporter.configKey" -}}
{{- if .Values.existingConfigMap.name -}}
{{- .Values.existingConfigMap.key -}}
{{- else if .Values.existingConfigSecret.name -}}
{{- .Values.existingConfigSecret.key -}}
{{- else -}}
css_vpcep.yml
{{- end -}}
{{- end -}}

{{/* hasConfig is "true" where a configuration file is mounted. */}}
{{- define "css-vpcep-exporter.hasConfig" -}}
{{- if not .Values.demo -}}true{{- end -}}
{{- end -}}

{{/* 90 % of the memory limit, in bytes; empty without a limit, and for one that Kubernetes treats as none. */}}
{{- define "css-vpcep-exporter.goMemoryLimit" -}}
{{- $limit := toString (((.Values.resources).limits).memory | default "") -}}
{{- if and $limit (ne $limit "0") -}}
{{- $number := "[0-9]*[.]?[0-9]+[.]?([eE][+-]?[0-9]+)?" -}}
{{- if not (regexMatch (printf "^[+]?%s([KMGTPE]i|[numkMGTPE])?$" $number) $limit) -}}
{{- fail (printf "resources.limits.memory: invalid quantity %q; write a number of bytes, or one such as 512Mi or 1Gi" $limit) -}}
{{- end -}}
{{- $units := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18
  "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- $unit := regexFind "([KMGTPE]i|[numkMGTPE])?$" $limit -}}
{{- $bytes := mulf (trimSuffix $unit $limit | trimSuffix "." | float64) (get $units $unit) 0.9 | int64 -}}
{{- if gt $bytes 0 -}}
{{- $bytes -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The exporter's environment: credentials.env and extraEnv, and GOMEMLIMIT unless these have it. */}}
{{- define "css-vpcep-exporter.env" -}}
{{- $env := list -}}
{{- range .Values.credentials.env -}}
{{- $reference := dict "secretKeyRef" (dict "name" .secretName "key" .key) -}}
{{- $env = append $env (dict "name" .name "valueFrom" $reference) -}}
{{- end -}}
{{- $env = concat $env (.Values.extraEnv | default list) -}}
{{- $names := list -}}
{{- range $env -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $limit := include "css-vpcep-exporter.goMemoryLimit" . -}}
{{- if and $limit (not (has "GOMEMLIMIT" $names)) -}}
{{- $env = prepend $env (dict "name" "GOMEMLIMIT" "value" $limit) -}}
{{- end -}}
{{- with $env -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* The labels of an object of the Prometheus Operator; the argument is a list of the root and the object's own labels. */}}
{{- define "css-vpcep-exporter.monitoringLabels" -}}
{{- $root := first . -}}
{{- $release := dict -}}
{{- with $root.Values.releaseLabel -}}
{{- $release = dict "release" (eq (toString .) "true" | ternary $root.Release.Name .) -}}
{{- end -}}
{{- include "css-vpcep-exporter.labels" (list $root $release (last .)) -}}
{{- end -}}

{{- define "css-vpcep-exporter.probes" -}}
{{- .Values.web.probes | default (empty .Values.web.existingSecret | ternary "http" "tcp") -}}
{{- end -}}

{{/* One probe; the argument is a list of the root, the path and the timing. */}}
{{- define "css-vpcep-exporter.probe" -}}
{{- $root := index . 0 -}}
{{- if eq (include "css-vpcep-exporter.probes" $root) "tcp" -}}
tcpSocket:
  port: http
{{- else -}}
httpGet:
  path: {{ index . 1 }}
  port: http
  scheme: {{ upper $root.Values.web.scheme }}
{{- end }}
{{- with index . 2 }}
{{ toYaml . }}
{{- end }}
{{- end -}}

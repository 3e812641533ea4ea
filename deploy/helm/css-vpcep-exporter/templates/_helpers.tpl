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
{{- with index . 2 }}
{{ toYaml . }}
{{- end }}
{{- end -}}

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

{{/* validateLists rejects what is given twice, which Kubernetes or server-side apply would reject. */}}
{{- define "css-vpcep-exporter.validateLists" -}}
{{- $flags := list -}}
{{- range .Values.extraArgs -}}
{{- $flags = append $flags (regexFind "^[^=]+" . | trimPrefix "--" | trimPrefix "no-") -}}
{{- end -}}
{{- include "css-vpcep-exporter.unique" (list "extraArgs" "flag" $flags) -}}
{{- $variables := list -}}
{{- range concat (.Values.credentials.env | default list) (.Values.extraEnv | default list) -}}
{{- $variables = append $variables .name -}}
{{- end -}}
{{- include "css-vpcep-exporter.unique" (list "extraEnv" "name" $variables) -}}
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
{{- include "css-vpcep-exporter.validateLists" . -}}
{{- end -}}

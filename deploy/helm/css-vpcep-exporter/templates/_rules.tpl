{{/*
What prometheusRule.thresholds changes in alerts.yml: a map from exact strings to their replacements, which are the same
with the default values. The texts of the alerts change along with the expressions.
*/}}
{{- define "css-vpcep-exporter.thresholds" -}}
{{- $values := .Values.prometheusRule.thresholds -}}
{{- $edits := dict -}}

{{- $age := include "css-vpcep-exporter.milliseconds" $values.connectionPendingAge | float64 -}}
{{- $seconds := divf $age 1000 | int64 -}}
{{- if lt $seconds 600 -}}
{{- fail (printf "prometheusRule.thresholds.connectionPendingAge: must be at least 10m: the alert always waits 5m, and looks for several scrapes before; got %s" $values.connectionPendingAge) -}}
{{- end -}}
{{- $before := sub $seconds 300 -}}
{{- $offset := eq (mod $before 60) 0 | ternary (printf "%dm" (div $before 60)) (printf "%ds" $before) -}}
{{- $hour := eq $seconds 3600 | ternary "an hour" $values.connectionPendingAge -}}
{{- $_ := set $edits "[5m]) >= 3300" (printf "[5m]) >= %d" $before) -}}
{{- range list "css_vpcep_connection_status" "css_vpcep_connections" -}}
{{- $series := printf "last_over_time(%s{status=\"pendingAcceptance\"}[1h] offset" . -}}
{{- $_ := set $edits (printf "%s 55m" $series) (printf "%s %s" $series $offset) -}}
{{- end -}}
{{- $_ := set $edits "{status=\"pendingAcceptance\"}[55m]" (printf "{status=\"pendingAcceptance\"}[%s]" $offset) -}}
{{- $_ := set $edits "for acceptance for more than an hour." (printf "for acceptance for more than %s." $hour) -}}
{{- $_ := set $edits "for acceptance for more than an hour, so" (printf "for acceptance for more than %s, so" $hour) -}}

{{- $lost := float64 $values.connectionsLostRatio -}}
{{- $_ := set $edits "0.5 * cluster:css_vpcep_connections:accepted_max1d"
  (printf "%v * cluster:css_vpcep_connections:accepted_max1d" (round (subf 1 $lost) 6)) -}}
{{- $_ := set $edits "has lost more than half of its accepted"
  (printf "has lost more than %s of its accepted" (include "css-vpcep-exporter.share" $lost)) -}}

{{- $unreadable := float64 $values.projectUnreadableRatio -}}
{{- $_ := set $edits "(css_vpcep_up)) < 0.5" (printf "(css_vpcep_up)) < %v" (round (subf 1 $unreadable) 6)) -}}
{{- if ne $unreadable 0.5 -}}
{{- $share := include "css-vpcep-exporter.share" $unreadable -}}
{{- $_ := set $edits "Most CSS clusters of a project" (printf "More than %s of the CSS clusters of a project" $share) -}}
{{- $_ := set $edits "most of its clusters could not be read" (printf "more than %s of its clusters could not be read" $share) -}}
{{- end -}}

{{- $vanished := round (subf 1 (float64 $values.clustersVanishedRatio)) 6 -}}
{{- $_ := set $edits "< 0.5 * max by (region, project_id) (max_over_time(css_vpcep_discovery_clusters"
  (printf "< %v * max by (region, project_id) (max_over_time(css_vpcep_discovery_clusters" $vanished) -}}
{{- $_ := set $edits "< 0.5 * max by (project) (max_over_time(css_vpcep_account"
  (printf "< %v * max by (project) (max_over_time(css_vpcep_account" $vanished) -}}
{{- $_ := set $edits "IAM lists less than half of"
  (printf "IAM lists less than %s of" (include "css-vpcep-exporter.share" $vanished)) -}}
{{- $_ := set $edits "Discovery finds less than half of"
  (printf "Discovery finds less than %s of" (include "css-vpcep-exporter.share" $vanished)) -}}

{{- $stale := divf (include "css-vpcep-exporter.milliseconds" $values.dataStaleAge | float64) 1000 | int64 -}}
{{- $_ := set $edits "> 900\n" (printf "> %d\n" $stale) -}}

{{- $throttled := float64 $values.throttledRatio -}}
{{- $_ := set $edits "> 0.05\n" (printf "> %v\n" $throttled) -}}
{{- $_ := set $edits "5% of all (css_vpcep" (printf "%v%% of all (css_vpcep" (round (mulf $throttled 100) 4)) -}}

{{- $warning := float64 $values.sessionsWarningRatio -}}
{{- $critical := float64 $values.sessionsCriticalRatio -}}
{{- if lt $critical $warning -}}
{{- fail (printf "prometheusRule.thresholds.sessionsCriticalRatio: must not be below sessionsWarningRatio (%v); got %v" $warning $critical) -}}
{{- end -}}
{{- $_ := set $edits "known_ratio > 0.8\n        for: 10m" (printf "known_ratio > %v\n        for: 10m" $warning) -}}
{{- $_ := set $edits "has used more than 80% of" (printf "has used more than %v%% of" (round (mulf $warning 100) 4)) -}}
{{- $_ := set $edits "known_ratio > 0.95\n        for: 5m" (printf "known_ratio > %v\n        for: 5m" $critical) -}}
{{- $_ := set $edits "uses more than 95% of" (printf "uses more than %v%% of" (round (mulf $critical 100) 4)) -}}

{{- toJson $edits -}}
{{- end -}}

{{/* A share from 0 to 1, in words. */}}
{{- define "css-vpcep-exporter.share" -}}
{{- eq . 0.5 | ternary "half" (printf "%v%%" (round (mulf . 100) 4)) -}}
{{- end -}}

{{/*
The groups of the rule files, with the thresholds, labels and links of prometheusRule. clusterLabel is added to each
aggregation and each vector matching of the expressions, and to each series that a description looks up.
*/}}
{{- define "css-vpcep-exporter.ruleGroups" -}}
{{- $values := .Values.prometheusRule -}}
{{- $base := trimSuffix "/" ($values.runbookBaseURL | default "") -}}
{{- $alerts := .Files.Get "files/rules/alerts.yml" -}}
{{- range $old, $new := include "css-vpcep-exporter.thresholds" . | fromJson -}}
{{- if ne (len (splitList $old $alerts)) 2 -}}
{{- fail (printf "prometheusRule.thresholds: files/rules/alerts.yml must contain %q once; adapt the chart's templates/_rules.tpl" $old) -}}
{{- end -}}
{{- $alerts = replace $old $new $alerts -}}
{{- end -}}
{{- range $values.disabled -}}
{{- if not (contains (printf "- alert: %s\n" .) $alerts) -}}
{{- fail (printf "prometheusRule.disabled: there is no alert %q; files/rules/alerts.yml has their names" .) -}}
{{- end -}}
{{- end -}}
{{- $label := $values.clusterLabel -}}
{{- $groups := list -}}
{{- range $group := concat (fromYaml $alerts).groups (fromYaml (.Files.Get "files/rules/rules.yml")).groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- if $label -}}
{{- $expr := regexReplaceAll "\\b(by|on) *\\(" $rule.expr (printf "${1} (%s, " $label) -}}
{{- $_ := set $rule "expr" (replace (printf "(%s, )" $label) (printf "(%s)" $label) $expr) -}}
{{- end -}}
{{- if $rule.alert -}}
{{- if $label -}}
{{- $lookup := printf "| reReplaceAll \"([a-z0-9_:])\\\\{\" (printf \"${1}{%s=%%q,\" $labels.%s) | query" $label $label -}}
{{- $_ := set $rule.annotations "description" (replace "| query" $lookup $rule.annotations.description) -}}
{{- end -}}
{{- if $base -}}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s/docs/runbooks/%s.md" $base $rule.alert) -}}
{{- end -}}
{{- if $values.ruleLabels -}}
{{- $_ := set $rule "labels" (include "css-vpcep-exporter.merged" (list $rule.labels $values.ruleLabels) | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- if not (and $rule.alert (has $rule.alert $values.disabled)) -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- end -}}
{{- if $rules -}}
{{- $_ := set $group "rules" $rules -}}
{{- $groups = append $groups $group -}}
{{- end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}

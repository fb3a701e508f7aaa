{{/* What no schema can say, said before anything is made. */}}

{{/* A duration of payonce's, such as "75s", in whole seconds. */}}
{{- define "payonce.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $of := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 -}}
{{- mulf $number (get $of $unit) | ceil | int64 -}}
{{- end -}}

{{/* What payonce needs between its SIGTERM and SIGKILL, in seconds. */}}
{{- define "payonce.ownGrace" -}}
{{- add (include "payonce.seconds" (dig "shutdown" "drain" "75s" .Values.settings) | int64) 5 -}}
{{- end -}}

{{/* What a pod needs between SIGTERM and SIGKILL, in seconds. */}}
{{- define "payonce.leastGrace" -}}
{{- $before := ternary .Values.applicationStopSeconds .Values.sidecar.preStopSleepSeconds .Values.sidecar.native | int64 -}}
{{- add (include "payonce.ownGrace" . | int64) $before -}}
{{- end -}}

{{- define "payonce.grace" -}}
{{- $least := include "payonce.leastGrace" . | int64 -}}
{{- $given := .Values.terminationGracePeriodSeconds | int64 -}}
{{- if lt $given $least -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, and must be at least %d: what precedes payonce's SIGTERM, settings.shutdown.drain, and 5 seconds. Less would kill payonce while an outcome is still unknown." $given $least) -}}
{{- end -}}
{{- $given -}}
{{- end -}}

{{- define "payonce.check" -}}
{{- $drain := include "payonce.seconds" (dig "shutdown" "drain" "75s" .Values.settings) | int64 -}}
{{- $deadline := include "payonce.seconds" (dig "retry" "deadline" "70s" .Values.settings) | int64 -}}
{{- if lt $drain $deadline -}}
{{- fail (printf "settings.shutdown.drain (%d s) must not be less than settings.retry.deadline (%d s): a request that began just before the end could not finish" $drain $deadline) -}}
{{- end -}}
{{- $_ := include "payonce.grace" . -}}
{{- include "payonce.checkVariables" . -}}
{{- include "payonce.checkNetwork" . -}}
{{- $store := .Values.store -}}
{{- if and (eq $store.kind "redis") (not $store.redis.nodes) -}}
{{- fail "store.redis.nodes must be set: all pods of an application share one Redis (deploy/redis says how to run it). For one pod alone there is store.kind=embedded with store.singleInstance=true." -}}
{{- end -}}
{{- if and .Values.store.existingClaim (ne $store.kind "embedded") -}}
{{- fail "store.existingClaim is for store.kind=embedded" -}}
{{- end -}}
{{- if and .Values.store.existingClaim (or .Values.admission.kyverno.enabled .Values.admission.mutatingAdmissionPolicy.enabled) -}}
{{- fail "store.existingClaim is for one pod: an admission policy would give it to all" -}}
{{- end -}}
{{- $secret := include "payonce.secretName" . -}}
{{- range $for, $key := omit .Values.secrets.keys "payonceSecret" -}}
{{- if and $key (not $secret) -}}
{{- fail (printf "secrets.keys.%s names %q, and there is no Secret: set secrets.existingSecret" $for $key) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.secrets.existingSecret .Values.secrets.values -}}
{{- fail "secrets.existingSecret and secrets.values: one of them" -}}
{{- end -}}
{{- range $for, $key := .Values.secrets.keys -}}
{{- if and $key $.Values.secrets.values (not (hasKey $.Values.secrets.values $key)) -}}
{{- fail (printf "secrets.keys.%s names %q, which secrets.values has not" $for $key) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.secrets.keys.traceHeaders (not (include "payonce.said" (dict "of" . "section" "tracing" "name" "otlp_endpoint"))) -}}
{{- fail "secrets.keys.traceHeaders is for a collector: set settings.tracing.otlp_endpoint" -}}
{{- end -}}
{{- if and (gt (int64 .Values.sidecar.preStopSleepSeconds) 0) (semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail "sidecar.preStopSleepSeconds needs Kubernetes 1.30: payonce's image has no shell to sleep with" -}}
{{- end -}}
{{- if and .Values.sidecar.native (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail "sidecar.native needs Kubernetes 1.29: set it to false here" -}}
{{- end -}}
{{- if and .Values.sidecar.native (gt (int64 .Values.sidecar.preStopSleepSeconds) 0) -}}
{{- fail "sidecar.preStopSleepSeconds is of no use to a native sidecar, which is stopped after the application" -}}
{{- end -}}
{{- if and .Values.policy.text .Values.policy.existingConfigMap -}}
{{- fail "policy.text and policy.existingConfigMap: one of them" -}}
{{- end -}}
{{- if and .Values.webhook.enabled (not $secret) -}}
{{- fail "webhook.endpoints need a Secret with Stripe's whsec_…: set secrets.existingSecret" -}}
{{- end -}}
{{- if and .Values.example.enabled (gt (int64 .Values.example.replicas) 1) (ne .Values.store.kind "redis") -}}
{{- fail "example.replicas is more than 1, and the store is not shared: each pod would count operations of its own" -}}
{{- end -}}
{{- end -}}

{{/*
A variable wins over the settings, and is not seen by what the chart reckons from them: ports, the
network policy, the time to end. (The hosts of a proxy and of a collector are; a proxy's address may
hold a password, and a collector's may be the node's.)
*/}}
{{- define "payonce.checkVariables" -}}
{{- $instead := dict
  "PAYONCE_LISTEN__PROXY" ""
  "PAYONCE_LISTEN__ADMIN" ""
  "PAYONCE_LISTEN__HEALTH" "sidecar.listenOn"
  "PAYONCE_WEBHOOK__LISTEN" "webhook.enabled and sidecar.listenOn"
  "PAYONCE_STORE__KIND" "store.kind"
  "PAYONCE_STORE__NODES" "store.redis.nodes"
  "PAYONCE_STORE__TOPOLOGY" "store.redis.topology"
  "PAYONCE_STORE__PATH" ""
  "PAYONCE_UPSTREAM__API" "settings.upstream.api"
  "PAYONCE_UPSTREAM__FILES" "settings.upstream.files"
  "PAYONCE_UPSTREAM__CONNECT" "settings.upstream.connect"
  "PAYONCE_UPSTREAM__METER_EVENTS" "settings.upstream.meter_events"
  "PAYONCE_SHUTDOWN__DRAIN" "settings.shutdown.drain"
  "PAYONCE_RETRY__DEADLINE" "settings.retry.deadline" -}}
{{- range .Values.sidecar.extraEnv -}}
{{- if hasKey $instead .name -}}
{{- $do := ternary "leave it out" (printf "set %s instead" (get $instead .name)) (empty (get $instead .name)) -}}
{{- fail (printf "sidecar.extraEnv: %s would win over what the chart decides and reckons with: %s" .name $do) -}}
{{- end -}}
{{- end -}}
{{- end -}}

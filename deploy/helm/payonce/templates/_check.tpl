{{/* What no schema can say, said before anything is made. */}}

{{/* A duration of payonce's, such as "75s", in whole seconds. */}}
{{- define "payonce.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $of := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 -}}
{{- mulf $number (get $of $unit) | ceil | int64 -}}
{{- end -}}

{{/* What a pod needs between SIGTERM and SIGKILL, in seconds. */}}
{{- define "payonce.leastGrace" -}}
{{- $drain := include "payonce.seconds" (dig "shutdown" "drain" "75s" .Values.settings) | int64 -}}
{{- $before := ternary .Values.applicationStopSeconds .Values.sidecar.preStopSleepSeconds .Values.sidecar.native | int64 -}}
{{- add $drain $before 5 -}}
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
{{- if and .Values.secrets.keys.traceHeaders (not (dig "tracing" "otlp_endpoint" "" .Values.settings)) -}}
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

{{/*
payonce.toml, from what the chart decides and what `settings` says beside it. Written out by hand
rather than with toToml, which makes floats of whole numbers; payonce takes no 4.0 for a count.
*/}}

{{/* What the chart decides, as YAML. */}}
{{- define "payonce.decided" -}}
{{- $secret := include "payonce.secretName" . -}}
{{- $keys := .Values.secrets.keys -}}
listen:
  # The proxy and the admin port are for the pod alone: its loopback has 127.0.0.1 also where the pod
  # has no other address of IPv4. Probes and Prometheus come from outside.
  proxy: "127.0.0.1:8420"
  admin: "127.0.0.1:8421"
  health: {{ printf "%s:8422" .Values.sidecar.listenOn | quote }}
store:
  kind: {{ .Values.store.kind }}
  single_instance: {{ .Values.store.singleInstance }}
  # The admin port's token lies beside it, whatever the store is.
  path: /var/lib/payonce/payonce.redb
{{- if eq .Values.store.kind "redis" }}
{{- with .Values.store.redis }}
  nodes: {{ .nodes | quote }}
  topology: {{ .topology }}
  database: {{ .database }}
  prefix: {{ .prefix | quote }}
  {{- with .master }}
  master: {{ . | quote }}
  {{- end }}
  {{- with .user }}
  user: {{ . | quote }}
  {{- end }}
  {{- if .caConfigMap }}
  ca_file: {{ printf "/etc/payonce/redis-ca/%s" .caKey }}
  {{- end }}
{{- end }}
{{- with $keys.redisPassword }}
  password_file: /run/secrets/payonce/{{ . }}
{{- end }}
{{- with $keys.sentinelPassword }}
  sentinel_password_file: /run/secrets/payonce/{{ . }}
{{- end }}
{{- end }}
policy:
  path: /etc/payonce/policy/policy.toml
log:
  format: json
{{- if $secret }}
{{- with $keys.payonceSecret }}
secret:
  file: /run/secrets/payonce/{{ . }}
{{- end }}
{{- with $keys.adminToken }}
admin:
  token_file: /run/secrets/payonce/{{ . }}
{{- end }}
{{- with $keys.stripeKey }}
credential:
  file: /run/secrets/payonce/{{ . }}
{{- end }}
{{- with $keys.traceHeaders }}
tracing:
  headers_file: /run/secrets/payonce/{{ . }}
{{- end }}
{{- end }}
{{- if .Values.webhook.enabled }}
webhook:
  # Stripe's events come from outside the pod.
  listen: {{ printf "%s:8423" .Values.sidecar.listenOn | quote }}
  endpoints:
    {{- range $name, $endpoint := .Values.webhook.endpoints }}
    {{ $name }}:
      path: {{ $endpoint.path | quote }}
      secret_files:
        {{- range $endpoint.secretKeys }}
        - /run/secrets/payonce/{{ . }}
        {{- end }}
      forward: {{ $endpoint.forward | quote }}
      {{- with $endpoint.account }}
      account: {{ . | quote }}
      {{- end }}
      {{- with $endpoint.apiKeys }}
      api_keys: {{ toJson . }}
      {{- end }}
    {{- end }}
{{- end }}
{{- end -}}

{{- define "payonce.settings" -}}
{{- include "payonce.check" . -}}
{{- $all := mergeOverwrite (deepCopy .Values.settings) (fromYaml (include "payonce.decided" .)) -}}
{{- $text := include "payonce.tomlTables" (dict "of" $all "at" "") | trim -}}
{{- regexReplaceAll "\n{3,}" $text "\n\n" }}
{{- end -}}

{{/* Scalars first, then tables: `of` is a map, `at` its dotted name. */}}
{{- define "payonce.tomlTables" -}}
{{- $of := .of }}{{ $at := .at }}
{{- $tables := list }}{{ $lines := list }}
{{- range $name := keys $of | sortAlpha }}
{{- $value := get $of $name }}
{{- if kindIs "map" $value }}
{{- $tables = append $tables $name }}
{{- else }}
{{- $lines = append $lines (printf "%s = %s" $name (include "payonce.tomlValue" $value)) }}
{{- end }}
{{- end }}
{{- if and $at $lines }}

[{{ $at }}]
{{- end }}
{{- range $lines }}
{{ . }}
{{- end }}
{{- range $tables }}
{{- $key := ternary . (toJson .) (regexMatch "^[A-Za-z0-9_-]+$" .) }}
{{ include "payonce.tomlTables" (dict "of" (get $of .) "at" (ternary (printf "%s.%s" $at $key) $key (ne $at ""))) }}
{{- end }}
{{- end -}}

{{- define "payonce.tomlValue" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end -}}
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/*
Where payonce goes to by its settings, what the network policy must open for that, and what is
refused because it would close the way without a word.
*/}}

{{/* Host and port of a URL, without what it may hold of users and passwords. */}}
{{- define "payonce.authority" -}}
{{- regexReplaceAll "^[a-z]+://([^@/]*@)?([^/?#]*).*$" . "${2}" -}}
{{- end -}}

{{/* The port that a URL leads to; nothing where it cannot be seen. */}}
{{- define "payonce.port" -}}
{{- $port := regexFind ":[0-9]+$" (include "payonce.authority" .) | trimPrefix ":" -}}
{{- $usual := dict "http" "80" "https" "443" "redis" "6379" "rediss" "6379" -}}
{{- $port | default (get $usual (regexFind "^[a-z]+" .)) -}}
{{- end -}}

{{/* Of some URLs those that lead out of the pod, in JSON: no policy holds up what stays on loopback. */}}
{{- define "payonce.remote" -}}
{{- $remote := list -}}
{{- range . -}}
{{- $local := regexMatch "^(127\\.[0-9.]+|localhost|\\[::1\\])(:[0-9]+)?$" (include "payonce.authority" .) -}}
{{- if not (or $local (hasPrefix "unix:" .) (eq . "")) -}}
{{- $remote = append $remote . -}}
{{- end -}}
{{- end -}}
{{- toJson $remote -}}
{{- end -}}

{{/* What a setting says, be it in `settings` or in extraEnv; "elsewhere" if it comes from a Secret. */}}
{{- define "payonce.said" -}}
{{- $said := get (get .of.Values.settings .section | default dict) .name -}}
{{- $variable := printf "PAYONCE_%s__%s" (upper .section) (upper .name) -}}
{{- range .of.Values.sidecar.extraEnv -}}
{{- if eq .name $variable -}}
{{- $said = .value | default "elsewhere" -}}
{{- end -}}
{{- end -}}
{{- $said -}}
{{- end -}}

{{/*
All of it, as YAML: `stripe`, whether Stripe itself is asked from this pod; `each`, the other
destinations, by the name that networkPolicy.egress has for them.
*/}}
{{- define "payonce.destinations" -}}
{{- $store := list -}}
{{- if eq .Values.store.kind "redis" -}}
{{- $store = splitList "," .Values.store.redis.nodes -}}
{{- end -}}
{{- $collector := include "payonce.said" (dict "of" . "section" "tracing" "name" "otlp_endpoint") -}}
{{- $proxy := include "payonce.said" (dict "of" . "section" "upstream" "name" "egress_proxy") -}}
{{- $stripe := false -}}
{{- $upstream := list -}}
{{- range $host := list "api" "files" "connect" "meter_events" -}}
{{- $url := include "payonce.said" (dict "of" $ "section" "upstream" "name" $host) -}}
{{- if or (eq $url "") (regexMatch "^https://([a-z0-9-]+\\.)*stripe\\.com(:443)?/?$" $url) -}}
{{- $stripe = true -}}
{{- else -}}
{{- $upstream = append $upstream $url -}}
{{- end -}}
{{- end -}}
{{- /* A proxy elsewhere is asked for all of them; one in this pod goes to them from here. */ -}}
{{- if fromJsonArray (include "payonce.remote" (list $proxy)) -}}
{{- $stripe = false -}}
{{- $upstream = list -}}
{{- end -}}
{{- $forward := list -}}
{{- if .Values.webhook.enabled -}}
{{- range .Values.webhook.endpoints -}}
{{- $forward = append $forward .forward -}}
{{- end -}}
{{- end -}}
{{- $each := list -}}
{{- $urls := dict "store" $store "collector" (list $collector) "proxy" (list $proxy) "upstream" $upstream "forward" $forward -}}
{{- range $name := list "store" "collector" "proxy" "upstream" "forward" -}}
{{- $remote := fromJsonArray (include "payonce.remote" (get $urls $name)) -}}
{{- $ports := list -}}
{{- range $remote -}}
{{- with include "payonce.port" . -}}
{{- $ports = append $ports (int64 .) -}}
{{- end -}}
{{- end -}}
{{- range get $.Values.networkPolicy.egress (printf "%sPorts" $name) -}}
{{- $ports = append $ports (int64 .) -}}
{{- end -}}
{{- $each = append $each (dict "name" $name "urls" $remote "ports" (uniq $ports)) -}}
{{- end -}}
{{- toYaml (dict "stripe" $stripe "each" $each) -}}
{{- end -}}

{{- define "payonce.checkNetwork" -}}
{{- $net := .Values.networkPolicy -}}
{{- if and $net.egress.enabled (not $net.enabled) -}}
{{- fail "networkPolicy.egress.enabled closes nothing while networkPolicy.enabled is false: set that to true as well" -}}
{{- end -}}
{{- if and $net.enabled (not $net.monitoringFrom) (or (ne .Values.monitoring.kind "none") .Values.monitoring.alerts.enabled) -}}
{{- fail "networkPolicy.monitoringFrom is empty, which closes /metrics to Prometheus, and monitoring asks for it: say where Prometheus is (a list of NetworkPolicyPeers)" -}}
{{- end -}}
{{- if and $net.enabled .Values.webhook.enabled (not $net.webhookFrom) -}}
{{- fail "networkPolicy.webhookFrom is empty, which closes port 8423 to Stripe's webhooks: say where that comes from which ends TLS for them (a list of NetworkPolicyPeers)" -}}
{{- end -}}
{{- if and $net.enabled $net.egress.enabled -}}
{{- include "payonce.checkEgress" . -}}
{{- end -}}
{{- end -}}

{{- define "payonce.checkEgress" -}}
{{- $what := dict
  "store" "its store (store.redis.nodes)"
  "collector" "its collector (settings.tracing.otlp_endpoint)"
  "proxy" "the proxy that leads to Stripe (settings.upstream.egress_proxy)"
  "upstream" "what stands in Stripe's place (settings.upstream)"
  "forward" "the application that gets webhooks (webhook.endpoints)" -}}
{{- range .Values.networkPolicy.egress.exceptFromStripe -}}
{{- if hasPrefix "64:ff9b:" . -}}
{{- fail (printf "networkPolicy.egress.exceptFromStripe: %s is where NAT64 stands for IPv4, and a pod without IPv4 reaches Stripe by it: leave it out" .) -}}
{{- end -}}
{{- end -}}
{{- range (fromYaml (include "payonce.destinations" .)).each -}}
{{- if and .urls (not (get $.Values.networkPolicy.egress (printf "%sTo" .name))) -}}
{{- fail (printf "networkPolicy.egress.enabled would cut payonce off from %s, which is at %s: say in networkPolicy.egress.%sTo where that is (a list of NetworkPolicyPeers)" (get $what .name) (include "payonce.authorities" .urls) .name) -}}
{{- end -}}
{{- if and .urls (not .ports) -}}
{{- fail (printf "networkPolicy.egress.%sPorts must be set: the port of %s cannot be seen, since a variable of sidecar.extraEnv takes it from elsewhere" .name (get $what .name)) -}}
{{- end -}}
{{- if and .urls (eq .name "store") (eq $.Values.store.redis.topology "sentinel") (not $.Values.networkPolicy.egress.storePorts) -}}
{{- fail "networkPolicy.egress.storePorts must be set: the Sentinels tell payonce of servers at ports that do not stand in store.redis.nodes (as a rule [6379])" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "payonce.authorities" -}}
{{- $all := list -}}
{{- range . -}}
{{- $all = append $all (include "payonce.authority" .) -}}
{{- end -}}
{{- join ", " $all -}}
{{- end -}}

{{/* The ports at which names are looked up. OpenShift's servers listen on 5353 behind port 53. */}}
{{- define "payonce.dnsPorts" -}}
{{- $ports := list -}}
{{- range .Values.networkPolicy.egress.dnsPorts -}}
{{- $ports = append $ports (int64 .) -}}
{{- end -}}
{{- if .Capabilities.APIVersions.Has "config.openshift.io/v1" -}}
{{- $ports = append $ports 5353 -}}
{{- end -}}
{{- toJson (uniq $ports) -}}
{{- end -}}

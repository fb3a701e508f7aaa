{{/*
YAML as a CEL literal. The API server wants all values of a CEL map, and all items of a list, to be
of one type, which `dyn` makes of them.
*/}}
{{- define "payonce.cel" -}}
{{- if kindIs "map" . -}}
{ {{- $of := . }}{{ range $i, $key := keys $of | sortAlpha }}{{ if $i }}, {{ end }}{{ toJson $key }}: dyn({{ include "payonce.cel" (get $of $key) }}){{ end -}} }
{{- else if kindIs "slice" . -}}
[{{ range $i, $item := . }}{{ if $i }}, {{ end }}dyn({{ include "payonce.cel" $item }}){{ end }}]
{{- else if kindIs "float64" . -}}
{{ printf "%.0f" . }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{/* The version of the API that the cluster serves. */}}
{{- define "payonce.admissionVersion" -}}
{{- $group := "admissionregistration.k8s.io" -}}
{{- $kind := "MutatingAdmissionPolicy" -}}
{{- $served := .Capabilities.APIVersions -}}
{{- if .Values.admission.mutatingAdmissionPolicy.apiVersion -}}
{{ $group }}/{{ .Values.admission.mutatingAdmissionPolicy.apiVersion }}
{{- else if $served.Has (printf "%s/v1/%s" $group $kind) -}}
{{ $group }}/v1
{{- else if $served.Has (printf "%s/v1beta1/%s" $group $kind) -}}
{{ $group }}/v1beta1
{{- else if $served.Has "v1/Pod" -}}
{{- fail "this cluster does not serve MutatingAdmissionPolicy: it needs Kubernetes 1.36, or 1.34 with admissionregistration.k8s.io/v1beta1 switched on. There is admission.kyverno as well." -}}
{{- else if semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version -}}
{{/* Rendered without a cluster, which lists no kinds: the version decides. */}}
{{- $group }}/v1
{{- else if semverCompare ">=1.34.0-0" .Capabilities.KubeVersion.Version -}}
{{ $group }}/v1beta1
{{- else -}}
{{- fail "MutatingAdmissionPolicy needs Kubernetes 1.34: use admission.kyverno here" -}}
{{- end -}}
{{- end -}}

{{/* Names and labels. */}}

{{- define "payonce.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What every object of the chart bears. */}}
{{- define "payonce.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: payonce
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What a pod with payonce bears: network policy, monitors and admission look for it. */}}
{{- define "payonce.podLabels" -}}
payonce: enabled
{{- end -}}

{{/* On a pod whose owner wrote the sidecar: the admission policies then add none, whatever its image. */}}
{{- define "payonce.ownSidecar" -}}
payonce/sidecar: own
{{- end -}}

{{- define "payonce.repository" -}}
{{- required "image.repository must be set: where your registry has payonce's image" .Values.image.repository -}}
{{- end -}}

{{- define "payonce.image" -}}
{{- $repository := include "payonce.repository" . -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "payonce.settingsName" -}}{{ include "payonce.fullname" . }}-settings{{- end -}}

{{- define "payonce.policyName" -}}
{{ .Values.policy.existingConfigMap | default (printf "%s-policy" (include "payonce.fullname" .)) }}
{{- end -}}

{{/* The Secret's name, or nothing if there is none. */}}
{{- define "payonce.secretName" -}}
{{- if .Values.secrets.existingSecret -}}
{{ .Values.secrets.existingSecret }}
{{- else if .Values.secrets.values -}}
{{ include "payonce.fullname" . }}
{{- end -}}
{{- end -}}

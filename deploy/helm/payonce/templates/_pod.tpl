{{/*
What a pod with payonce is made of. A chart with this one as a dependency calls these with
`.Subcharts.payonce`, and puts the container into `initContainers` (native) or `containers`:

  initContainers:
    {{- include "payonce.container" .Subcharts.payonce | nindent 4 }}
*/}}

{{/* The sidecar: a list with one container. */}}
{{- define "payonce.container" -}}
- {{ include "payonce.oneContainer" . | nindent 2 | trim }}
{{- end -}}

{{- define "payonce.oneContainer" -}}
name: payonce
image: {{ include "payonce.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: ["serve", "--settings", "/etc/payonce/settings/payonce.toml"]
{{- if .Values.sidecar.native }}
restartPolicy: Always
{{- end }}
ports:
  - name: payonce-health
    containerPort: 8422
    protocol: TCP
  {{- if .Values.webhook.enabled }}
  - name: payonce-hooks
    containerPort: 8423
    protocol: TCP
  {{- end }}
{{- with .Values.sidecar.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
# No probe asks the store or Stripe: that one of them is down must not stop the pod.
startupProbe:
  httpGet:
    path: /startupz
    port: payonce-health
    scheme: HTTP
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /livez
    port: payonce-health
    scheme: HTTP
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: payonce-health
    scheme: HTTP
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
{{- if .Values.sidecar.preStopSleepSeconds }}
lifecycle:
  preStop:
    sleep:
      seconds: {{ .Values.sidecar.preStopSleepSeconds }}
{{- end }}
resources:
  {{- toYaml .Values.sidecar.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: ["ALL"]
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  runAsUser: {{ .Values.sidecar.runAsUser }}
  runAsGroup: {{ .Values.sidecar.runAsGroup }}
  seccompProfile:
    type: RuntimeDefault
volumeMounts:
  - name: payonce-settings
    mountPath: /etc/payonce/settings
    readOnly: true
  # A directory, never a subPath: with a subPath no change would ever arrive.
  - name: payonce-policy
    mountPath: /etc/payonce/policy
    readOnly: true
  {{- if include "payonce.secretName" . }}
  - name: payonce-secrets
    mountPath: /run/secrets/payonce
    readOnly: true
  {{- end }}
  {{- if and (eq .Values.store.kind "redis") .Values.store.redis.caConfigMap }}
  - name: payonce-redis-ca
    mountPath: /etc/payonce/redis-ca
    readOnly: true
  {{- end }}
  - name: payonce-state
    mountPath: /var/lib/payonce
  # payonce has nothing to say to the API server. What is mounted here keeps the pod's token, if it
  # has one, from being mounted.
  - name: payonce-no-token
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
  {{- with .Values.sidecar.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "payonce.volumes" -}}
- name: payonce-settings
  configMap:
    name: {{ include "payonce.settingsName" . }}
- name: payonce-policy
  configMap:
    name: {{ include "payonce.policyName" . }}
{{- with include "payonce.secretName" . }}
- name: payonce-secrets
  secret:
    secretName: {{ . }}
    # The directory is mounted into payonce's container alone, which does not run as its owner.
    defaultMode: 0444
{{- end }}
{{- if and (eq .Values.store.kind "redis") .Values.store.redis.caConfigMap }}
- name: payonce-redis-ca
  configMap:
    name: {{ .Values.store.redis.caConfigMap }}
{{- end }}
- name: payonce-state
  {{- if .Values.store.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ .Values.store.existingClaim }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.sidecar.stateSizeLimit }}
  {{- end }}
- name: payonce-no-token
  emptyDir:
    sizeLimit: 1Ki
{{- with .Values.sidecar.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Settings are read at start: a change must roll the pods. (The policy is taken while they run.) */}}
{{- define "payonce.podAnnotations" -}}
payonce/settings: {{ include "payonce.settings" . | sha256sum | trunc 16 | quote }}
{{ include "payonce.ownSidecar" . }}
{{- end -}}

{{/* For the application's container. No SDK reads it: the application passes it to its SDK. */}}
{{- define "payonce.applicationEnv" -}}
- name: STRIPE_API_BASE
  value: "http://127.0.0.1:8420"
{{- end -}}

{{- define "payonce.imagePullSecrets" -}}
{{- range .Values.imagePullSecrets }}
- name: {{ . }}
{{- end }}
{{- end -}}

{{/*
Which pods get the sidecar from the cluster: said once in CEL, for MutatingAdmissionPolicy, and once in
JMESPath, for Kyverno. A container is payonce's by its name and its image's repository; where a team
takes the image from elsewhere, by the annotation that the pod bears.

  host      the pod has the node's network
  native    it has the sidecar, a team's own or from an earlier round
  ordinary  it has payonce as an ordinary container of the team's own
  taken     one of its containers has the sidecar's name, whatever it is
*/}}

{{- define "payonce.notInjected" -}}
payonce/not-injected
{{- end -}}

{{/* No quotes in these: they are put into three languages. */}}
{{- define "payonce.notOnHostNetwork" -}}
not protected by payonce: the pod has hostNetwork, where its ports clash with those of other pods and all processes of the node could pay through it. Run the pod without hostNetwork.
{{- end -}}

{{- define "payonce.notWhereNameIsTaken" -}}
not protected by payonce: a container of the pod has the name payonce and is no sidecar with the image {{ include "payonce.repository" . }}. Rename it; or, if it serves payonce, annotate the pod with payonce/sidecar: own (as an init container it needs restartPolicy: Always).
{{- end -}}

{{- define "payonce.celHost" -}}
(has(object.spec.hostNetwork) && object.spec.hostNetwork)
{{- end -}}

{{- define "payonce.celOurs" -}}
{{- $repository := include "payonce.repository" . -}}
c.name == "payonce" && (
  (has(c.image) && (c.image == {{ toJson $repository }} ||
    c.image.startsWith({{ printf "%s:" $repository | toJson }}) ||
    c.image.startsWith({{ printf "%s@" $repository | toJson }}))) ||
  (has(object.metadata.annotations) && "payonce/sidecar" in object.metadata.annotations &&
    object.metadata.annotations["payonce/sidecar"] == "own"))
{{- end -}}

{{- define "payonce.celNative" -}}
(has(object.spec.initContainers) && object.spec.initContainers.exists(c,
  has(c.restartPolicy) && c.restartPolicy == "Always" &&
  {{ include "payonce.celOurs" . | indent 2 | trim }}))
{{- end -}}

{{- define "payonce.celOrdinary" -}}
object.spec.containers.exists(c,
  {{ include "payonce.celOurs" . | indent 2 | trim }})
{{- end -}}

{{- define "payonce.celTaken" -}}
(object.spec.containers.exists(c, c.name == "payonce") ||
  (has(object.spec.initContainers) && object.spec.initContainers.exists(c, c.name == "payonce")))
{{- end -}}

{{- define "payonce.pathHost" -}}
(request.object.spec.hostNetwork || `false`)
{{- end -}}

{{/* In an expression on containers; what is not there must have its `||` in Kyverno's JMESPath. */}}
{{- define "payonce.pathImage" -}}
{{- $repository := include "payonce.repository" . -}}
((image || '') == '{{ $repository }}' || starts_with(image || '', '{{ $repository }}:') || starts_with(image || '', '{{ $repository }}@'))
{{- end -}}

{{- define "payonce.pathOwn" -}}
(request.object.metadata.annotations."payonce/sidecar" || '') == 'own'
{{- end -}}

{{- define "payonce.pathNative" -}}
{{- $native := "request.object.spec.initContainers[?name == 'payonce' && (restartPolicy || '') == 'Always'" -}}
(length({{ $native }} && {{ include "payonce.pathImage" . }}] || `[]`) > `0` || ({{ include "payonce.pathOwn" . }} && length({{ $native }}] || `[]`) > `0`))
{{- end -}}

{{- define "payonce.pathOrdinary" -}}
{{- $ordinary := "request.object.spec.containers[?name == 'payonce'" -}}
(length({{ $ordinary }} && {{ include "payonce.pathImage" . }}] || `[]`) > `0` || ({{ include "payonce.pathOwn" . }} && length({{ $ordinary }}] || `[]`) > `0`))
{{- end -}}

{{- define "payonce.pathTaken" -}}
(contains(request.object.spec.containers[].name || `[]`, 'payonce') || contains(request.object.spec.initContainers[].name || `[]`, 'payonce'))
{{- end -}}

{{/* What who makes such a pod is told. */}}
{{- define "payonce.refusedWithout" -}}
A pod with the label payonce: enabled must have payonce, and this one has none; {{ include "payonce.notWhereNameIsTaken" . }}
{{- end -}}

{{/* A whole variable of Kyverno's, as a YAML string. */}}
{{- define "payonce.variable" -}}
{{ printf "{{ %s }}" . | quote }}
{{- end -}}

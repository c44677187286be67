{{/* The platform's facts over the default's, as YAML. */}}
{{- define "weft.platform" -}}
{{- $all := .Files.Get "files/platforms.yaml" | fromYaml -}}
{{- $own := dict -}}
{{- with .Values.platform -}}
{{- if not (hasKey $all .) }}{{ fail (printf "platform: unknown platform %q; expected one of %s" . (keys (omit $all "default") | sortAlpha | join ", ")) }}{{ end -}}
{{- $own = get $all . -}}
{{- end -}}
{{- merge (deepCopy $own) $all.default | toYaml -}}
{{- end }}

{{- define "weft.cniConfDir" -}}
{{- .Values.cni.confDir | default (include "weft.platform" . | fromYaml).cniConfDir -}}
{{- end }}
{{- define "weft.cniBinDir" -}}
{{- .Values.cni.binDir | default (include "weft.platform" . | fromYaml).cniBinDir -}}
{{- end }}
{{- define "weft.netnsDir" -}}
{{- .Values.cni.netnsDir | default (include "weft.platform" . | fromYaml).netnsDir -}}
{{- end }}

{{- define "weft.rootNamespace" -}}
{{- .Values.rootNamespace | default .Release.Namespace -}}
{{- end }}

{{/* (dict "root" $ "name" "weft-agent") */}}
{{- define "weft.image" -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* What never changes of a component: usable as a selector. */}}
{{- define "weft.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "weft.labels" -}}
{{ include "weft.selector" . }}
app.kubernetes.io/part-of: weft
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
istio.io/rev: {{ .root.Values.revision | default "default" }}
{{- end }}

{{/* A component's pod labels, none of which changes with a version: pods roll only where something of theirs
     changes. The mesh's own pods are never captured. */}}
{{- define "weft.podLabels" -}}
{{ include "weft.selector" . }}
app.kubernetes.io/part-of: weft
istio.io/dataplane-mode: none
sidecar.istio.io/inject: "false"
{{- with .values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What a pod template says of where its pods run: (dict "values" .Values.agent "root" $) */}}
{{- define "weft.placement" -}}
nodeSelector:
  kubernetes.io/os: linux
{{- with .values.nodeSelector }}
{{ toYaml . | indent 2 }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
{{ toYaml . }}
{{- end }}
{{- with .values.affinity }}
affinity:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}

{{/* The ConfigMap with the mesh's configuration. */}}
{{- define "weft.meshConfigName" -}}
istio{{ with .Values.revision }}-{{ . }}{{ end }}
{{- end }}

{{- define "weft.seLinuxOptions" -}}
{{- if (include "weft.platform" . | fromYaml).seLinux }}
seLinuxOptions:
  type: spc_t
{{- end }}
{{- end }}

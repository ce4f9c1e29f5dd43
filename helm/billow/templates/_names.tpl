{{/* Names and labels of objects. */}}

{{- define "billow.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selectors ask for; it never changes. Input: root, component. */}}
{{- define "billow.selector" -}}
app.kubernetes.io/name: billow
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Input: root, component. */}}
{{- define "billow.labels" -}}
{{ include "billow.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image of ours. Input: root, repository, tag. */}}
{{- define "billow.image" -}}
{{- $repository := .repository -}}
{{- with .root.Values.image.registry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end -}}
{{- printf "%s:%s" $repository .tag -}}
{{- end -}}

{{- define "billow.tag" -}}
{{- .Values.image.tag | default .Chart.AppVersion -}}
{{- end -}}

{{- define "billow.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "billow.natsSecret" -}}
{{- .Values.nats.auth.existingSecret | default (printf "%s-nats-users" (include "billow.fullname" .)) -}}
{{- end -}}

{{/* Key of a user's password, which is also the variable of nats-server. Input: name of the user. */}}
{{- define "billow.passwordKey" -}}
{{- printf "BILLOW_PASSWORD_%s" (. | upper | replace "-" "_") -}}
{{- end -}}

{{- define "billow.natsUrl" -}}
{{- if .Values.nats.builtin.enabled -}}
{{- printf "nats://%s-nats:4222" (include "billow.fullname" .) -}}
{{- else -}}
{{- .Values.nats.url -}}
{{- end -}}
{{- end -}}

{{- define "billow.natsMonitor" -}}
{{- if .Values.nats.builtin.enabled -}}
{{- printf "%s-nats.%s.svc:8222" (include "billow.fullname" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.nats.monitor -}}
{{- end -}}
{{- end -}}

{{- define "billow.databaseSecret" -}}
{{- .Values.database.existingSecret | default (printf "%s-database" (include "billow.fullname" .)) -}}
{{- end -}}

{{- define "billow.databaseKey" -}}
{{- ternary .Values.database.key "url" (ne .Values.database.existingSecret "") -}}
{{- end -}}

{{/* Input: root, priority. Empty for the cluster's default. */}}
{{- define "billow.priorityClass" -}}
{{- if .root.Values.priorityClasses.create -}}
{{- printf "%s-%s-%s" .root.Release.Namespace (include "billow.fullname" .root) .priority | trunc 63 -}}
{{- else -}}
{{- index .root.Values.priorityClasses.existing .priority -}}
{{- end -}}
{{- end -}}

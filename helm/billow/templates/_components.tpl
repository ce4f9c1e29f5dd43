{{/*
Services and workers as one list, each with its defaults, so that every template ranges over the same.
Output: JSON, {"items": [...]}; of an item: component (suffix of its names), role, service (as the consumers name it), user,
image, config (merged values), env (settings), weights (whether a model has some), and of a worker model and gpuMemory (MiB,
0 for none).
*/}}
{{- define "billow.components" -}}
{{- $root := . -}}
{{- $items := list -}}
{{- range $name, $given := .Values.services -}}
  {{- $config := mergeOverwrite (deepCopy $root.Values.serviceDefaults) (deepCopy ($given | default dict)) -}}
  {{- if $config.enabled -}}
    {{- $user := $config.natsUser | default $name -}}
    {{- $repository := $config.image.repository | default (printf "billow/%s" $name) -}}
    {{- $tag := $config.image.tag | default (include "billow.tag" $root) -}}
    {{- $image := include "billow.image" (dict "root" $root "repository" $repository "tag" $tag) -}}
    {{- $own := include "billow.environment" (dict "root" $root "user" $user) | fromYaml -}}
    {{- $env := mergeOverwrite $own (deepCopy $config.env) -}}
    {{- $items = append $items (dict "component" $name "role" "service" "service" $name "user" $user "image" $image "config" $config "env" $env "weights" false) -}}
  {{- end -}}
{{- end -}}
{{- range $given := .Values.workers -}}
  {{- $config := include "billow.workerConfig" (dict "root" $root "given" $given) | fromJson -}}
  {{- if $config.enabled -}}
    {{- $user := $config.natsUser | default (printf "worker-%s" $given.model) -}}
    {{- $variant := include "billow.variant" $config -}}
    {{- $repository := $config.image.repository | default (printf "billow/worker-%s" $variant) -}}
    {{- $tag := $config.image.tag | default (include "billow.tag" $root) -}}
    {{- $image := include "billow.image" (dict "root" $root "repository" $repository "tag" $tag) -}}
    {{- $memory := 0 -}}
    {{- if $config.gpu -}}
      {{- $card := $config.gpuMemory | default $root.Values.gpu.memory | int -}}
      {{- $memory = div (mul $card (sub 100 (int $root.Values.gpu.reserve))) (mul 100 (int $config.slices)) -}}
    {{- end -}}
    {{- $own := include "billow.environment" (dict "root" $root "user" $user) | fromYaml -}}
    {{- $_ := set $own "BILLOW_MODEL" $given.model -}}
    {{- $_ := set $own "BILLOW_MODEL_CACHE" $root.Values.models.folder -}}
    {{- $_ := set $own "BILLOW_DEVICE" (ternary "cuda" "cpu" $config.gpu) -}}
    {{- $_ := set $own "BILLOW_THREADS" (toString ($config.threads | default (include "billow.cores" $config.resources.limits.cpu) | int)) -}}
    {{- if $config.runtime }}{{ $_ := set $own "BILLOW_RUNTIME" $config.runtime }}{{ end -}}
    {{- if $memory }}{{ $_ := set $own "BILLOW_GPU_MEMORY" (toString $memory) }}{{ end -}}
    {{- $env := mergeOverwrite $own (deepCopy $config.env) -}}
    {{- $items = append $items (dict "component" (printf "worker-%s" $given.name) "role" "worker" "service" "worker" "user" $user "image" $image "config" $config "env" $env "model" $given.model "gpuMemory" $memory "weights" (ne $config.runtime "python")) -}}
  {{- end -}}
{{- end -}}
{{- dict "items" $items | toJson -}}
{{- end -}}

{{/* Input: root, given (an entry of `workers`). Output: JSON. KEDA's limits are those of the entry. */}}
{{- define "billow.workerConfig" -}}
{{- $defaults := deepCopy .root.Values.serviceDefaults -}}
{{- $_ := set $defaults "image" dict -}}
{{- $config := mergeOverwrite $defaults (deepCopy .root.Values.workerDefaults) (deepCopy .given) -}}
{{- $by := ternary "keda" "none" .root.Values.keda.enabled -}}
{{- $scaling := dict "by" $by "min" $config.minReplicas "max" $config.maxReplicas "lag" $config.lag -}}
{{- $_ := set $config "scaling" (mergeOverwrite $config.scaling $scaling) -}}
{{- $config | toJson -}}
{{- end -}}

{{/* Input: config of a worker. */}}
{{- define "billow.variant" -}}
{{- if .variant -}}
{{- .variant -}}
{{- else if not .gpu -}}
cpu
{{- else if eq .runtime "tensorflow" -}}
tensorflow-gpu
{{- else -}}
onnx-gpu
{{- end -}}
{{- end -}}

{{/* Whole cores of a CPU quantity, one at least. Without it a model would start as many threads as the node has cores. */}}
{{- define "billow.cores" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}
{{- max 1 (div (trimSuffix "m" $text | int) 1000) -}}
{{- else -}}
{{- max 1 (int (floor (float64 $text))) -}}
{{- end -}}
{{- end -}}

{{/* Settings that every process of ours gets, without secrets. Input: root, user. */}}
{{- define "billow.environment" -}}
{{- $nats := .root.Values.nats -}}
BILLOW_NATS_URL: {{ include "billow.natsUrl" .root | quote }}
{{- with $nats.domain }}
BILLOW_NATS_DOMAIN: {{ . | quote }}
{{- end }}
{{- if $nats.auth.enabled }}
BILLOW_NATS_USER: {{ .user | quote }}
BILLOW_NATS_INBOX_PREFIX: {{ printf "_INBOX.%s" .user | quote }}
{{- end }}
{{- if $nats.ca.existingSecret }}
SSL_CERT_FILE: /etc/billow/ca/{{ $nats.ca.key }}
{{- end }}
{{- if $nats.replicas }}
BILLOW_REPLICAS: {{ $nats.replicas | quote }}
{{- end }}
BILLOW_LOG_LEVEL: {{ .root.Values.log.level | quote }}
BILLOW_LOG_FORMAT: {{ .root.Values.log.format | quote }}
BILLOW_READY_FILE: /run/billow/ready
BILLOW_METRICS_PORT: {{ .root.Values.metrics.port | quote }}
{{- end -}}

{{/* Variables that come out of secrets. Input: root, user (empty for one that does not speak with NATS), database; natsSecret and
databaseSecret if they are others. */}}
{{- define "billow.secretEnvironment" -}}
{{- if and .root.Values.nats.auth.enabled .user }}
- name: BILLOW_NATS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .natsSecret | default (include "billow.natsSecret" .root) }}
      key: {{ include "billow.passwordKey" .user }}
{{- end }}
{{- if .database }}
- name: BILLOW_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .databaseSecret | default (include "billow.databaseSecret" .root) }}
      key: {{ include "billow.databaseKey" .root }}
{{- end }}
{{- end -}}

{{/* Consumers by which a component scales. Input: root, item. Output: JSON, {"items": [{stream, durable}]}. */}}
{{- define "billow.consumers" -}}
{{- $declared := .root.Files.Get "files/consumers.json" | fromJson -}}
{{- $item := .item -}}
{{- $found := dict -}}
{{- if eq $item.role "worker" -}}
  {{- range $declared.models -}}
    {{- $_ := set $found (printf "%s/%s" .stream (replace "{model}" $item.model .durable)) true -}}
  {{- end -}}
{{- else -}}
  {{- range $declared.consumers -}}
    {{- if eq .service $item.service }}{{ $_ := set $found (printf "%s/%s" .stream .durable) true }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- $items := list -}}
{{- range keys $found | sortAlpha -}}
  {{- $parts := splitList "/" . -}}
  {{- $items = append $items (dict "stream" (first $parts) "durable" (last $parts)) -}}
{{- end -}}
{{- dict "items" $items | toJson -}}
{{- end -}}

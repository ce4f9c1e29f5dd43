{{/* What types cannot say. Fails with all faults at once, each beginning with its key. */}}
{{- define "billow.validate" -}}
{{- $faults := concat (include "billow.faultsOfServers" . | fromJson).items (include "billow.faultsOfServices" . | fromJson).items (include "billow.faultsOfWorkers" . | fromJson).items -}}
{{- if $faults }}{{ fail (printf "values that do not fit together:\n- %s" (join "\n- " $faults)) }}{{ end -}}
{{- end -}}

{{/* What nats-server takes out of a variable for something else than this text: it reads it as it reads its file. */}}
{{- define "billow.noText" -}}
(?i)[\s,;}\]'\\]|^[-.({\["$]|^[0-9]+[-.]|^[0-9]+([kmgtpe]i?b?)?$|^(true|false|yes|no|on|off)$
{{- end -}}

{{- define "billow.faultsOfServers" -}}
{{- $faults := list -}}
{{- with .Values.nats -}}
  {{- if and (not .builtin.enabled) (not .url) }}{{ $faults = append $faults "nats.url: name the servers of NATS, or set nats.builtin.enabled" }}{{ end -}}
  {{- if and .builtin.enabled .url }}{{ $faults = append $faults "nats.url: leave it empty while nats.builtin.enabled is set" }}{{ end -}}
  {{- if and .builtin.enabled (gt (int .replicas) 1) }}{{ $faults = append $faults (printf "nats.replicas: %d copies need a cluster; the built-in server (nats.builtin.enabled) is one" (int .replicas)) }}{{ end -}}
  {{- if and .auth.enabled (not .auth.existingSecret) (not .auth.passwords) (not .builtin.enabled) }}{{ $faults = append $faults "nats.auth.existingSecret: name the secret with the users' passwords, give nats.auth.passwords, or set nats.auth.enabled to false" }}{{ end -}}
  {{- if and .auth.existingSecret .auth.passwords }}{{ $faults = append $faults "nats.auth.passwords: they would not be used beside nats.auth.existingSecret; remove one" }}{{ end -}}
  {{- if and .builtin.enabled .auth.enabled .domain (not .builtin.users) }}{{ $faults = append $faults "nats.domain: the users of the built-in server may only ask a server without a domain; leave it empty, or give nats.builtin.users of `billow topology export permissions --domain`" }}{{ end -}}
  {{- if and .builtin.enabled .auth.enabled -}}
    {{- $users := include "billow.users" $ -}}
    {{- range $user, $password := .auth.passwords -}}
      {{- if and (contains (printf "$%s" (include "billow.passwordKey" $user)) $users) (regexMatch (include "billow.noText" $) $password) -}}
        {{- $faults = append $faults (printf "nats.auth.passwords.%s: nats-server would read it as a number, a word like `yes`, or not at all; take letters and digits, a letter first" $user) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
  {{- if regexMatch "://[^/@]+:[^/@]+@" .url }}{{ $faults = append $faults "nats.url: it holds a password, which everybody can read there; use nats.auth" }}{{ end -}}
{{- end -}}
{{- if and .Values.keda.enabled (not .Values.nats.builtin.enabled) (not .Values.nats.monitor) -}}
  {{- $faults = append $faults "nats.monitor: KEDA (keda.enabled) reads there what waits; name host:port of NATS's monitoring page" -}}
{{- end -}}
{{- if and .Values.keda.enabled (not (semverCompare ">=2.20.0-0" .Values.keda.version)) -}}
  {{- $faults = append $faults (printf "keda.version: %s scales to the maximum while a consumer is missing; install KEDA 2.20 or newer" .Values.keda.version) -}}
{{- end -}}
{{- with .Values.database -}}
  {{- if and .builtin.enabled (or .url .existingSecret) }}{{ $faults = append $faults "database.builtin.enabled: there is database.url or database.existingSecret too; remove one" }}{{ end -}}
  {{- if and .url .existingSecret }}{{ $faults = append $faults "database.url: it would not be used beside database.existingSecret; remove one" }}{{ end -}}
{{- end -}}
{{- with .Values.priorityClasses -}}
  {{- if and .create (le (int .interactive) (int .bulk)) }}{{ $faults = append $faults (printf "priorityClasses.interactive: %d is not above priorityClasses.bulk, %d, so bulk pods would push out those on which a person waits" (int .interactive) (int .bulk)) }}{{ end -}}
{{- end -}}
{{- $cache := .Values.models.cache -}}
{{- if and (ne $cache.kind "claim") $cache.existingClaim }}{{ $faults = append $faults (printf "models.cache.existingClaim: it is not used while models.cache.kind is %s" $cache.kind) }}{{ end -}}
{{- range $key := list "nats" "database" -}}
  {{- $pool := (index $.Values $key).builtin.pool -}}
  {{- if and $pool (not (hasKey $.Values.pools $pool)) }}{{ $faults = append $faults (printf "%s.builtin.pool: there is no pool %q in pools" $key $pool) }}{{ end -}}
{{- end -}}
{{- dict "items" ($faults | default list) | toJson -}}
{{- end -}}

{{/* What services and workers share. Input: root, key, config, user. */}}
{{- define "billow.faultsOfComponent" -}}
{{- $faults := list -}}
{{- $key := .key -}}
{{- $config := .config -}}
{{- $auth := .root.Values.nats.auth -}}
{{- if not (hasKey .root.Values.pools $config.pool) }}{{ $faults = append $faults (printf "%s.pool: there is no pool %q in pools" $key $config.pool) }}{{ end -}}
{{- if lt (int $config.terminationGracePeriodSeconds) (add 30 (int $config.drainSeconds)) -}}
  {{- $faults = append $faults (printf "%s.terminationGracePeriodSeconds: %d s cut off work in hand; at least drainSeconds + 30 = %d" $key (int $config.terminationGracePeriodSeconds) (add 30 (int $config.drainSeconds))) -}}
{{- end -}}
{{- range $name := keys $config.env | sortAlpha -}}
  {{- if or (regexMatch "(PASSWORD|CREDENTIALS|TOKEN|SECRET)" $name) (eq $name "BILLOW_DATABASE_URL") -}}
    {{- $faults = append $faults (printf "%s.env.%s: a secret would stand in the clear there; use nats.auth, database or envFromSecrets" $key $name) -}}
  {{- end -}}
{{- end -}}
{{- if and $auth.enabled .root.Values.nats.builtin.enabled -}}
  {{- if not (has .user (include "billow.userNames" .root | fromJson).items) -}}
    {{- $faults = append $faults (printf "%s: the built-in NATS has no user %q; write nats.builtin.users with `billow topology export permissions`, or set natsUser" $key .user) -}}
  {{- end -}}
{{- else if and $auth.enabled (not $auth.existingSecret) $auth.passwords (not (hasKey $auth.passwords .user)) -}}
  {{- $faults = append $faults (printf "nats.auth.passwords.%s: missing; %s connects as this user" .user $key) -}}
{{- end -}}
{{- if lt (int $config.scaling.max) (int $config.scaling.min) -}}
  {{- $faults = append $faults (printf "%s: %d pods at most (max) and %d at least (min)" .scaling (int $config.scaling.max) (int $config.scaling.min)) -}}
{{- end -}}
{{- dict "items" ($faults | default list) | toJson -}}
{{- end -}}

{{- define "billow.faultsOfServices" -}}
{{- $faults := list -}}
{{- $root := . -}}
{{- $database := or .Values.database.builtin.enabled .Values.database.url .Values.database.existingSecret -}}
{{- $consumed := dict -}}
{{- range (.Files.Get "files/consumers.json" | fromJson).consumers }}{{ $_ := set $consumed .service true }}{{ end -}}
{{- range $name, $given := .Values.services -}}
  {{- $key := printf "services.%s" $name -}}
  {{- $config := mergeOverwrite (deepCopy $root.Values.serviceDefaults) (deepCopy ($given | default dict)) -}}
  {{- if $config.enabled -}}
    {{- $shared := include "billow.faultsOfComponent" (dict "root" $root "key" $key "config" $config "user" ($config.natsUser | default $name) "scaling" (printf "%s.scaling" $key)) | fromJson -}}
    {{- $faults = concat $faults ($shared.items | default list) -}}
    {{- if or (has $name (list "nats" "postgres" "topology" "migrations" "metrics" "models" "database" "priority" "network" "dashboards" "gpu")) (hasPrefix "worker" $name) }}{{ $faults = append $faults (printf "%s: this name is taken by the chart; choose another" $key) }}{{ end -}}
    {{- if and $config.database (not $database) }}{{ $faults = append $faults (printf "database.existingSecret: %s needs a database; name the secret with its URL, give database.url, or set database.builtin.enabled" $key) }}{{ end -}}
    {{- if and $config.ingress.enabled (not $config.http.port) }}{{ $faults = append $faults (printf "%s.ingress.enabled: set %s.http.port, the port that it leads to" $key $key) }}{{ end -}}
    {{- if and $config.ingress.enabled (not $config.ingress.host) }}{{ $faults = append $faults (printf "%s.ingress.host: name the host" $key) }}{{ end -}}
    {{- with $config.scaling -}}
      {{- if and (ne .by "keda") (eq (int .min) 0) }}{{ $faults = append $faults (printf "%s.scaling.min: 0 only by KEDA (scaling.by: keda)" $key) }}{{ end -}}
      {{- if and (eq .by "hpa") (not .cpu) (not .requestsPerSecond) }}{{ $faults = append $faults (printf "%s.scaling.cpu: with 0 and without requestsPerSecond there is nothing to scale by" $key) }}{{ end -}}
      {{- if and (eq .by "hpa") .cpu (not (dig "resources" "requests" "cpu" "" $config)) }}{{ $faults = append $faults (printf "%s.resources.requests.cpu: scaling by CPU needs it" $key) }}{{ end -}}
      {{- if and (eq .by "keda") (not $root.Values.keda.enabled) }}{{ $faults = append $faults (printf "%s.scaling.by: keda needs keda.enabled" $key) }}{{ end -}}
      {{- if and (eq .by "keda") (not (hasKey $consumed $name)) }}{{ $faults = append $faults (printf "%s.scaling.by: no consumer of files/consumers.json is of this service; use hpa" $key) }}{{ end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- dict "items" ($faults | default list) | toJson -}}
{{- end -}}

{{- define "billow.faultsOfWorkers" -}}
{{- $faults := list -}}
{{- $root := . -}}
{{- $names := dict -}}
{{- range $index, $given := .Values.workers -}}
  {{- $key := printf "workers[%d]" $index -}}
  {{- $config := include "billow.workerConfig" (dict "root" $root "given" $given) | fromJson -}}
  {{- if hasKey $names $given.name }}{{ $faults = append $faults (printf "%s.name: %q is taken by another worker" $key $given.name) }}{{ end -}}
  {{- $_ := set $names $given.name true -}}
  {{- if $config.enabled -}}
    {{- $shared := include "billow.faultsOfComponent" (dict "root" $root "key" $key "config" $config "user" ($config.natsUser | default (printf "worker-%s" $given.model)) "scaling" (printf "%s.maxReplicas" $key)) | fromJson -}}
    {{- $faults = concat $faults ($shared.items | default list) -}}
    {{- if and $config.gpu (has $config.runtime (list "openvino" "python")) }}{{ $faults = append $faults (printf "%s.gpu: %s does not run on an NVIDIA GPU; use onnxruntime or tensorflow" $key $config.runtime) }}{{ end -}}
    {{- if and (not $config.gpu) (gt (int $config.slices) 1) }}{{ $faults = append $faults (printf "%s.slices: only a GPU has slices; set gpu to true" $key) }}{{ end -}}
    {{- if and $config.gpu (eq $config.variant "cpu") }}{{ $faults = append $faults (printf "%s.variant: the image cpu cannot use a GPU" $key) }}{{ end -}}
    {{- if and (not $config.gpu) (hasSuffix "-gpu" $config.variant) }}{{ $faults = append $faults (printf "%s.variant: %s is for workers with gpu: true" $key $config.variant) }}{{ end -}}
    {{- if and $config.gpu (lt (div (mul (int ($config.gpuMemory | default $root.Values.gpu.memory)) (sub 100 (int $root.Values.gpu.reserve))) (mul 100 (int $config.slices))) 512) }}{{ $faults = append $faults (printf "%s.slices: %d slices leave a worker less than 512 MiB of the GPU's memory (gpu.memory)" $key (int $config.slices)) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- dict "items" ($faults | default list) | toJson -}}
{{- end -}}

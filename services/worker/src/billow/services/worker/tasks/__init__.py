"""One module a task: payload bytes -> tensors -> engine -> output. Pure and synchronous, no bus."""

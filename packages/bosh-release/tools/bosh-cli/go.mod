// Pins the bosh CLI, for `go build github.com/cloudfoundry/bosh-cli/v7` in this folder.
module bosh-cli-of-this-release

go 1.25

require github.com/cloudfoundry/bosh-cli/v7 v7.9.13

// A CoreDNS with only the plugins that the cluster's Corefile uses; the whole set takes several times as long to build.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func init() {
	// The order in which a query passes the plugins: the template answers what kubernetes does not know.
	dnsserver.Directives = []string{"health", "ready", "errors", "kubernetes", "template"}
}

func main() {
	coremain.Run()
}

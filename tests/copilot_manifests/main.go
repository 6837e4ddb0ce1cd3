// Command gateway asks Copilot's own code what it makes of the folder copilot/: it interpolates,
// reads and validates each manifest with the environment applied, renders the CloudFormation
// templates of environment and services with their addons, and applies the patches of overrides/.
//
//	gateway keys                  prints the keys that Copilot knows, as JSON
//	gateway render COPILOT OUT    does all of the above, and writes the templates to OUT
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "copilot manifests: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "keys":
		return printKeys(os.Stdout)
	case len(args) == 3 && args[0] == "render":
		return render(args[1], args[2])
	}
	return fmt.Errorf("usage: gateway keys | gateway render COPILOT OUT")
}

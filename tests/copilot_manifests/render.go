package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/copilot-cli/internal/pkg/addon"
	"github.com/aws/copilot-cli/internal/pkg/config"
	"github.com/aws/copilot-cli/internal/pkg/deploy"
	"github.com/aws/copilot-cli/internal/pkg/deploy/cloudformation/stack"
	"github.com/aws/copilot-cli/internal/pkg/manifest"
	"github.com/aws/copilot-cli/internal/pkg/override"
)

const (
	app     = "app"
	env     = "test"
	region  = "eu-central-1"
	account = "123456789012"
	bucket  = "artifacts"
	version = "v1.34.1"
)

var services = []string{"gateway", "users", "products"}

// stackConfig is what renders a template.
type stackConfig interface{ Template() (string, error) }

func render(root, out string) error {
	environment, text, err := readEnvironment(root)
	if err != nil {
		return fmt.Errorf("environments/%s/manifest.yml: %w", env, err)
	}
	if err := renderEnvironment(root, out, environment, text); err != nil {
		return fmt.Errorf("environments/%s: %w", env, err)
	}
	for _, name := range services {
		if err := renderService(root, out, environment, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// interpolated is a manifest as Copilot reads it once its variables are filled in.
func interpolated(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return manifest.NewInterpolator(app, env).Interpolate(string(text))
}

func readEnvironment(root string) (*manifest.Environment, string, error) {
	text, err := interpolated(filepath.Join(root, "environments", env, "manifest.yml"))
	if err != nil {
		return nil, "", err
	}
	environment, err := manifest.UnmarshalEnvironment([]byte(text))
	if err != nil {
		return nil, "", err
	}
	return environment, text, environment.Validate()
}

func renderEnvironment(root, out string, environment *manifest.Environment, text string) error {
	configured, err := stack.NewEnvStackConfig(&stack.EnvConfig{
		Name:                 env,
		Version:              version,
		App:                  deploy.AppInformation{Name: app, AccountPrincipalARN: "arn:aws:iam::" + account + ":root"},
		ArtifactBucketARN:    "arn:aws:s3:::" + bucket,
		ArtifactBucketKeyARN: "arn:aws:kms:" + region + ":" + account + ":key/0",
		Mft:                  environment,
		RawMft:               text,
	})
	if err != nil {
		return err
	}
	return patched(configured, filepath.Join(root, "environments", "overrides"), filepath.Join(out, "environment.yml"))
}

func renderService(root, out string, environment *manifest.Environment, name string) error {
	text, err := interpolated(filepath.Join(root, name, "manifest.yml"))
	if err != nil {
		return fmt.Errorf("manifest.yml: %w", err)
	}
	workload, err := manifest.UnmarshalWorkload([]byte(text))
	if err != nil {
		return fmt.Errorf("manifest.yml: %w", err)
	}
	if workload, err = workload.ApplyEnv(env); err != nil {
		return fmt.Errorf("manifest.yml: %w", err)
	}
	if err := workload.Validate(); err != nil {
		return fmt.Errorf("manifest.yml: %w", err)
	}
	addons, err := addon.ParseFromWorkload(name, workspace(root))
	if err != nil {
		return fmt.Errorf("addons: %w", err)
	}
	configured, err := configure(workload.Manifest(), environment, addons, text)
	if err != nil {
		return err
	}
	return patched(configured, filepath.Join(root, name, "overrides"), filepath.Join(out, name+".yml"))
}

func configure(read any, environment *manifest.Environment, addons *addon.WorkloadStack, text string) (stackConfig, error) {
	application := &config.Application{Name: app, AccountID: account}
	runtime := stack.RuntimeConfig{
		AddonsTemplateURL:        "https://" + bucket + ".s3.amazonaws.com/addons.yml",
		ServiceDiscoveryEndpoint: env + "." + app + ".local",
		AccountID:                account,
		Region:                   region,
		EnvVersion:               version,
		Version:                  version,
	}
	switch read := read.(type) {
	case *manifest.LoadBalancedWebService:
		return stack.NewLoadBalancedWebService(stack.LoadBalancedWebServiceConfig{
			App: application, EnvManifest: environment, Manifest: read, RawManifest: text,
			RuntimeConfig: runtime, ArtifactBucketName: bucket, Addons: addons,
		})
	case *manifest.BackendService:
		return stack.NewBackendService(stack.BackendServiceConfig{
			App: application, EnvManifest: environment, Manifest: read, RawManifest: text,
			RuntimeConfig: runtime, ArtifactBucketName: bucket, Addons: addons,
		})
	}
	return nil, fmt.Errorf("manifest.yml: %T is no kind of service that this system has", read)
}

// patched renders, applies the patches of a folder overrides/, and writes the result. A patch whose
// path is not there fails, as it would fail the deploy.
func patched(configured stackConfig, overrides, out string) error {
	template, err := configured.Template()
	if err != nil {
		return fmt.Errorf("render: %w", err)
	}
	body, err := override.WithPatch(overrides, override.PatchOpts{}).Override([]byte(template))
	if err != nil {
		return fmt.Errorf("overrides/%s: %w", override.YAMLPatchFile, err)
	}
	return os.WriteFile(out, body, 0o644)
}

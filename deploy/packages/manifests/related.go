// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// labelled is an object that others select, in its namespace.
type labelled struct {
	namespace string
	labels    labels.Set
}

// relations are the objects of a file that refer to each other by labels or names.
type relations struct {
	pods, services []labelled
	ports          map[string]bool // of Services, as namespace/name:port
	problems       []error
}

func (r *relations) reportf(format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf(format, args...)) //nolint:err113 // for people
}

// checkRelations fails unless every selector in a file selects one of its pods or Services in the right namespace,
// every Ingress leads to a Service, and every scrape ends before the next one.
func checkRelations(file string, out io.Writer) error {
	objects, err := decodeFile(file)
	if err != nil {
		return err
	}
	r := &relations{ports: map[string]bool{}}
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.Deployment:
			r.pods = append(r.pods, labelled{o.Namespace, o.Spec.Template.Labels})
		case *corev1.Pod:
			r.pods = append(r.pods, labelled{o.Namespace, o.Labels})
		case *corev1.Service:
			r.services = append(r.services, labelled{o.Namespace, o.Labels})
			for _, port := range o.Spec.Ports {
				r.ports[o.Namespace+"/"+o.Name+":"+port.Name] = true
			}
		}
	}
	for _, object := range objects {
		r.check(object)
	}
	if len(r.problems) == 0 {
		fmt.Fprintf(out, "%d objects\n", len(objects))
	}
	return errors.Join(r.problems...)
}

func (r *relations) check(object runtime.Object) {
	switch o := object.(type) {
	case *appsv1.Deployment:
		r.selects("Deployment", o.Spec.Selector, r.pods, o.Namespace)
	case *corev1.Service:
		r.selects("Service "+o.Name, &metav1.LabelSelector{MatchLabels: o.Spec.Selector}, r.pods, o.Namespace)
	case *policyv1.PodDisruptionBudget:
		r.selects("PodDisruptionBudget", o.Spec.Selector, r.pods, o.Namespace)
	case *networkingv1.NetworkPolicy:
		r.selects("NetworkPolicy", &o.Spec.PodSelector, r.pods, o.Namespace)
	case *networkingv1.Ingress:
		r.leads(o)
	case *monitoringv1.ServiceMonitor:
		namespaces := o.Spec.NamespaceSelector.MatchNames
		if len(namespaces) == 0 {
			namespaces = []string{o.Namespace}
		}
		r.selects("ServiceMonitor", &o.Spec.Selector, r.services, namespaces...)
		for i := range o.Spec.Endpoints {
			r.inTime("ServiceMonitor", o.Spec.Endpoints[i].ScrapeTimeout, o.Spec.Endpoints[i].Interval)
		}
	case *monitoringv1alpha1.ScrapeConfig:
		if o.Spec.ScrapeTimeout == nil || o.Spec.ScrapeInterval == nil {
			r.reportf("ScrapeConfig: no timeout or no interval")
			return
		}
		r.inTime("ScrapeConfig", *o.Spec.ScrapeTimeout, *o.Spec.ScrapeInterval)
	}
}

// leads checks that the Ingress has a host and a path, and that each path leads to a Service.
func (r *relations) leads(ingress *networkingv1.Ingress) {
	paths := 0
	for _, rule := range ingress.Spec.Rules {
		if rule.HTTP == nil || rule.Host == "" {
			r.reportf("Ingress: a rule without paths or without a host")
			continue
		}
		for _, path := range rule.HTTP.Paths {
			paths++
			service := path.Backend.Service
			if service == nil || !r.ports[ingress.Namespace+"/"+service.Name+":"+service.Port.Name] {
				r.reportf("Ingress: the path %s of %s leads to no Service of the namespace", path.Path, rule.Host)
			}
		}
	}
	if paths == 0 {
		r.reportf("Ingress: no paths")
	}
}

// selects checks that the selector selects exactly one object of the namespaces.
func (r *relations) selects(kind string, selector *metav1.LabelSelector, objects []labelled, namespaces ...string) {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		r.reportf("%s: %w", kind, err)
		return
	}
	n := 0
	for _, object := range objects {
		if slices.Contains(namespaces, object.namespace) && s.Matches(object.labels) {
			n++
		}
	}
	if n != 1 {
		r.reportf("%s: the selector %s selects %d of %v in %v, want one", kind, s, n, objects, namespaces)
	}
}

func (r *relations) inTime(kind string, timeout, interval monitoringv1.Duration) {
	t, err1 := time.ParseDuration(string(timeout))
	i, err2 := time.ParseDuration(string(interval))
	if err1 != nil || err2 != nil || t > i {
		r.reportf("%s: got the timeout %q and the interval %q, want at most the interval", kind, timeout, interval)
	}
}

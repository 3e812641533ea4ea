// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
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

// relations are the objects of a file that refer to each other by labels.
type relations struct {
	pods, services []labels.Set
	problems       []error
}

func (r *relations) reportf(format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf(format, args...)) //nolint:err113 // for people
}

// checkRelations fails unless every selector in a file selects one of its pods or Services, and every scrape ends before
// the next one.
func checkRelations(file string, out io.Writer) error {
	objects, err := decodeFile(file)
	if err != nil {
		return err
	}
	r := &relations{}
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.Deployment:
			r.pods = append(r.pods, o.Spec.Template.Labels)
		case *corev1.Service:
			r.services = append(r.services, o.Labels)
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
		r.selects("Deployment", o.Spec.Selector, r.pods)
	case *corev1.Service:
		r.selects("Service "+o.Name, &metav1.LabelSelector{MatchLabels: o.Spec.Selector}, r.pods)
	case *policyv1.PodDisruptionBudget:
		r.selects("PodDisruptionBudget", o.Spec.Selector, r.pods)
	case *networkingv1.NetworkPolicy:
		r.selects("NetworkPolicy", &o.Spec.PodSelector, r.pods)
	case *monitoringv1.ServiceMonitor:
		r.selects("ServiceMonitor", &o.Spec.Selector, r.services)
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

// selects checks that the selector selects exactly one set of labels.
func (r *relations) selects(kind string, selector *metav1.LabelSelector, sets []labels.Set) {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		r.reportf("%s: %w", kind, err)
		return
	}
	n := 0
	for _, set := range sets {
		if s.Matches(set) {
			n++
		}
	}
	if n != 1 {
		r.reportf("%s: the selector %s selects %d of %v, want one", kind, s, n, sets)
	}
}

func (r *relations) inTime(kind string, timeout, interval monitoringv1.Duration) {
	t, err1 := time.ParseDuration(string(timeout))
	i, err2 := time.ParseDuration(string(interval))
	if err1 != nil || err2 != nil || t > i {
		r.reportf("%s: got the timeout %q and the interval %q, want at most the interval", kind, timeout, interval)
	}
}
